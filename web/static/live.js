// Keeps the live part of a page up to date: asks for JSON, and fetches the page anew only when that has changed.
"use strict";

(() => {
  const RUNNING_MS = 2000;
  const IDLE_MS = 15000;
  const live = () => document.querySelector("[data-live]");
  const spoken = document.querySelector("[data-spoken]");
  let last = null;

  // What moves the eye stays where it is: the focus, and how far a table is scrolled.
  const replace = (fresh) => {
    const old = live();
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const scrolled = [...old.querySelectorAll("[data-scroll]")].map((box) => [box.id, box.scrollLeft]);
    const open = [...old.querySelectorAll("details[id]")].map((box) => [box.id, box.open]);
    old.replaceWith(fresh);
    for (const [id, left] of scrolled) {
      const box = document.getElementById(id);
      if (box) box.scrollLeft = left;
    }
    for (const [id, wasOpen] of open) {
      const box = document.getElementById(id);
      if (box) box.open = wasOpen;
    }
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    if (spoken && spoken.textContent !== fresh.dataset.summary) spoken.textContent = fresh.dataset.summary;
  };

  const look = async () => {
    const answer = await fetch(live().dataset.live, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const text = await answer.text();
    if (text === last) return;
    const page = await fetch(location.href);
    if (!page.ok) return;
    const fresh = new DOMParser().parseFromString(await page.text(), "text/html").querySelector("[data-live]");
    if (fresh) replace(document.importNode(fresh, true));
    last = text;
  };

  const wait = () => {
    const state = live().dataset.state;
    if (state === "ended") return;
    setTimeout(turn, state === "running" ? RUNNING_MS : IDLE_MS);
  };

  const turn = async () => {
    try {
      if (!document.hidden) await look();
    } catch {
      // The service is away for a moment; the next turn asks again.
    }
    wait();
  };

  if (live()) wait();
})();
