// Shows the description of the REST interface.
"use strict";

window.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("swagger-ui");
  SwaggerUIBundle({
    url: place.dataset.description,
    domNode: place,
    deepLinking: true,
    validatorUrl: null, // nobody else is asked about our description
    syntaxHighlight: false,
    persistAuthorization: false,
  });
});
