// The filter of the contents, and the forms that try an operation.
"use strict";

// The API may be below a path, so every address is relative to the page.
const base = new URL(".", document.baseURI);
let token = "";

for (const place of document.querySelectorAll(".base")) place.textContent = base.href.replace(/\/$/, "");

if (matchMedia("(max-width: 60rem)").matches) {
  for (const contents of document.querySelectorAll("nav details")) contents.open = false;
}

const filter = document.getElementById("filter");
if (filter) filter.addEventListener("input", () => {
  const wanted = filter.value.trim().toLowerCase();
  for (const part of document.querySelectorAll(".part")) {
    part.hidden = !part.textContent.toLowerCase().includes(wanted);
  }
  for (const link of document.querySelectorAll("nav li a")) {
    link.parentElement.hidden = document.getElementById(link.hash.slice(1)).hidden;
  }
});

for (const form of document.querySelectorAll(".try form")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}

async function send(form) {
  const { method, path, token: needsToken } = form.dataset;
  let address = path;
  const query = new URLSearchParams();
  const headers = {};
  let body;
  for (const { name, value, dataset } of form.elements) {
    if (dataset.in === "path") address = address.replace(`{${name}}`, encodeURIComponent(value));
    if (dataset.in === "query" && value) query.set(name, value);
    if (dataset.in === "header" && value) headers[name] = value;
    if (dataset.in === "body") body = value;
  }
  if (body !== undefined) headers["content-type"] = "application/json";
  if (needsToken !== undefined && token) headers.authorization = `Bearer ${token}`;
  const url = new URL(address.slice(1), base);
  url.search = query;
  const output = form.querySelector("output");
  output.textContent = "…";
  try {
    const answer = await fetch(url, { method, headers, body, cache: "no-store", redirect: "error" });
    const text = await answer.text();
    const sent = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    output.textContent = `${answer.status} ${answer.statusText}\n${sent}\n\n${pretty(text)}`;
    if (answer.ok) remember(answer.headers.get("location"), text);
  } catch (error) {
    output.textContent = `There is no answer: ${error.message}`;
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

// Keeps a token for the next requests, and fills the path of a new resource into the forms about it.
function remember(location, text) {
  const found = /"access_token":"([^"]+)"/.exec(text);
  if (found) {
    token = found[1];
    document.getElementById("session").textContent = "You are logged in until you close this page.";
  }
  if (!location) return;
  const parts = location.split("/");
  for (const form of document.querySelectorAll(".try form")) {
    const names = form.dataset.path.split("/").slice(0, parts.length);
    const fits = names.length === parts.length && names.every((name, at) => name === parts[at] || name.startsWith("{"));
    for (const [at, name] of fits ? names.entries() : []) {
      if (name.startsWith("{")) form.elements[name.slice(1, -1)].value = parts[at];
    }
  }
}
