// Shows the description of the REST interface.
"use strict";

window.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("swagger-ui");
  // What Swagger UI leaves undone for readers of screens: links within buttons, a second main part, headings out of order.
  const mend = () => {
    for (const link of place.querySelectorAll("button a[href]")) link.removeAttribute("href");
    for (const main of place.querySelectorAll("main:not([role])")) {
      main.setAttribute("role", "region");
      main.setAttribute("aria-label", "Operations");
    }
    for (const heading of place.querySelectorAll("h3.opblock-tag, .models > h4")) heading.setAttribute("aria-level", "2");
  };
  new MutationObserver(mend).observe(place, { childList: true, subtree: true });
  SwaggerUIBundle({
    url: place.dataset.description,
    domNode: place,
    deepLinking: true,
    validatorUrl: null, // nobody else is asked about our description
    syntaxHighlight: false,
    persistAuthorization: false,
  });
});
