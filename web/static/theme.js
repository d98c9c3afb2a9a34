// Shows the pages in the theme that was chosen in this browser: loaded before anything is painted, so that nothing flashes.
"use strict";

(() => {
  const root = document.documentElement;
  const KEY = "theme";
  const SYSTEM = "system";
  let chosen = SYSTEM;

  const show = () => {
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
    else delete root.dataset.theme;
    const shown = root.dataset.theme ?? SYSTEM;
    for (const button of document.querySelectorAll("[data-choose]"))
      button.setAttribute("aria-pressed", String(button.dataset.choose === shown));
  };

  const read = () => {
    try {
      chosen = localStorage.getItem(KEY) ?? SYSTEM;
    } catch {
      // A browser that keeps nothing: what is chosen holds for this page alone.
    }
    show();
  };

  const choose = (theme) => {
    chosen = theme;
    try {
      if (theme === SYSTEM) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, theme);
    } catch {
      // As above.
    }
    show();
  };

  read();
  addEventListener("storage", read);
  addEventListener("pageshow", read);
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-choose]"))
      button.addEventListener("click", () => choose(button.dataset.choose));
    for (const control of document.querySelectorAll("[data-themes]")) control.hidden = false;
    show();
  });
})();
