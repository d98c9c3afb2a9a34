// Sends the form with a progress bar, and keeps the chosen file when something else has to be corrected.
"use strict";

(() => {
  const form = () => document.querySelector("form[data-upload]");
  if (!form()) return;

  const fileOf = () => form().querySelector("input[type=file]");

  const complain = (text) => {
    const input = fileOf();
    input.setCustomValidity(text);
    input.reportValidity();
  };

  const checkSize = () => {
    const file = fileOf().files[0];
    const most = Number(fileOf().dataset.maxBytes);
    const tooLarge = file && file.size > most;
    fileOf().setCustomValidity(tooLarge ? `This file has ${file.size} bytes; at most ${most} are accepted.` : "");
  };

  // Only architectures that fit the chosen board can be chosen, in the form that has boards.
  const fitArchitectures = () => {
    const dataset = form().elements.board?.value.split("/")[0] ?? "";
    for (const group of form().querySelectorAll("optgroup[data-dataset]")) {
      group.disabled = dataset !== "" && group.dataset.dataset !== dataset;
    }
  };

  const showRefusal = (text) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const fresh = page.querySelector("form[data-upload]");
    const main = page.querySelector("main");
    if (!main) return complain("The service did not answer as expected. Please try again.");
    const kept = fileOf();
    document.querySelector("main").replaceWith(document.importNode(main, true));
    document.title = page.title;
    if (fresh) {
      fileOf().replaceWith(kept);
      const told = fresh.querySelector("input[type=file]").getAttribute("aria-describedby");
      kept.setAttribute("aria-describedby", told);
      document.querySelector("[data-choose-again]")?.remove();
      begin();
    }
    document.querySelector("[data-problems]")?.focus();
    scrollTo(0, 0);
  };

  // What a page that comes back out of the browser's memory must not keep.
  const rest = () => {
    form().querySelector("button[type=submit]").disabled = false;
    form().querySelector("[data-progress]").hidden = true;
  };

  const send = (event) => {
    event.preventDefault();
    checkSize();
    if (fileOf().validity.customError) {
      fileOf().reportValidity();
      return;
    }
    const button = form().querySelector("button[type=submit]");
    const bar = form().querySelector("[data-progress]");
    const request = new XMLHttpRequest();
    const failed = () => {
      rest();
      complain("The upload broke off. Please try again.");
    };
    button.disabled = true;
    bar.hidden = false;
    request.upload.onprogress = (step) => {
      bar.querySelector("progress").max = step.total;
      bar.querySelector("progress").value = step.loaded;
    };
    request.onerror = failed;
    request.onabort = failed;
    request.onload = () => {
      if (request.status === 200) location.assign(request.responseURL);
      else showRefusal(request.responseText);
    };
    request.open("POST", form().action);
    request.send(new FormData(form()));
  };

  const begin = () => {
    form().addEventListener("submit", send);
    form().elements.board?.addEventListener("change", fitArchitectures);
    fileOf().addEventListener("change", checkSize);
    checkSize();
    fitArchitectures();
  };

  addEventListener("pageshow", () => form() && rest());
  begin();
})();
