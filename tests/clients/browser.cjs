// Drives a browser as a page of another origin ("page ORIGIN") or as a reader of the reference ("docs").
"use strict";
const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { createServer } = require("node:http");
const { dirname, join } = require("node:path");
const { chromium } = require("playwright-core");

const { WAYBILL_URL: url, WAYBILL_BROWSER: other, NODE_PATH } = process.env;

// The pinned browser has its own libraries and fonts.
const tools = dirname(NODE_PATH);
const pinned = { ...process.env, LD_LIBRARY_PATH: join(tools, "al2023/lib"), FONTCONFIG_PATH: join(tools, "fonts") };
const chosen = other ? { executablePath: other } : { executablePath: join(tools, "chromium"), env: pinned };

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

// In the page: a customer's whole journey. It returns each answer with the headers that a script may read.
async function journey(url) {
  const answers = {};
  let token;
  const call = async (name, method, path, body, more = {}) => {
    const headers = { ...more };
    if (token) headers.authorization = `Bearer ${token}`;
    if (body) headers["content-type"] = "application/json";
    const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    return answers[name] = {
      status: answer.status, headers: Object.fromEntries(answer.headers), json: text && JSON.parse(text),
    };
  };
  const account = { email: `ada-${crypto.randomUUID()}@example.com`, password: "a long pass phrase" };
  await call("register", "POST", "/api/v1/users", { ...account, name: "Ada" });
  token = (await call("login", "POST", "/api/v1/auth/login", account)).json.access_token;
  const order = { lines: [{ sku: "stoneware-cup", quantity: 1 }], payment_method: "pm_card_visa" };
  const key = { "idempotency-key": crypto.randomUUID() };
  const trace = { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" };
  const wait = { prefer: "wait=10" };
  const path = (await call("order", "POST", "/api/v1/orders", order, { ...key, ...trace, ...wait })).headers.location;
  const ended = async (name, status) => {
    for (let tries = 0; tries < 12; tries++) {
      if ((await call(name, "GET", path, undefined, wait)).json.status === status) return;
    }
  };
  await ended("confirmed", "CONFIRMED");
  const seen = { "if-none-match": answers.confirmed.headers.etag };
  await call("unchanged", "GET", path, undefined, seen);
  await call("repeat", "POST", "/api/v1/orders", order, key);
  await call("cancel", "POST", `${path}/cancel`, undefined, wait);
  await ended("cancelled", "CANCELLED");
  const profile = await call("profile", "GET", "/api/v1/users/me");
  await call("rename", "PATCH", "/api/v1/users/me", { name: "Augusta" }, { "if-match": profile.headers.etag });
  await call("head", "HEAD", "/api/v1/items/stoneware-cup");
  await call("unknown", "GET", "/nothing");
  token = undefined;
  await call("anonymous", "GET", "/api/v1/users/me");
  return answers;
}

async function page(browser, origin, port) {
  const page = await browser.newPage();
  await page.goto(origin);
  assert.equal(await page.evaluate(() => location.origin), origin);
  const answers = await page.evaluate(journey, url);
  const status = (name, ...expected) =>
    assert(expected.includes(answers[name].status), `${name}: ${JSON.stringify(answers[name])}`);
  status("register", 201);
  status("login", 200);
  status("order", 200, 202);
  assert.equal(answers.order.headers["preference-applied"], "wait=10");
  assert.match(answers.order.headers.traceparent, /^00-4bf92f3577b34da6a3ce929d0e0e4736-/);
  assert.equal(answers.confirmed.json.status, "CONFIRMED");
  status("unchanged", 304);
  status("repeat", 200);
  assert.equal(answers.repeat.headers["idempotent-replayed"], "true");
  status("cancel", 200, 202);
  assert.equal(answers.cancelled.json.status, "CANCELLED");
  status("rename", 200);
  status("head", 200);
  status("unknown", 404);
  assert.equal(answers.unknown.json.type, "/problems/not-found");
  status("anonymous", 401);
  assert(answers.anonymous.headers["www-authenticate"]);
  for (const [name, { headers }] of Object.entries(answers)) assert(headers["x-request-id"], name);

  // The port is the server's own, which is in no list of origins.
  await page.goto(`http://localhost:${port}`);
  for (const headers of [{}, { "content-type": "application/json" }]) {
    const sent = page.evaluate(([url, headers]) => fetch(`${url}/api/v1/items`, { headers }), [url, headers]);
    await assert.rejects(sent, /Failed to fetch/);
  }
}

async function docs(browser) {
  for (const [width, colorScheme] of [[1280, "light"], [390, "dark"]]) {
    const page = await browser.newPage({ viewport: { width, height: 800 }, colorScheme });
    const faults = [];
    page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
    page.on("pageerror", (error) => faults.push(String(error)));
    page.on("request", (request) => request.url().startsWith(url) || faults.push(request.url()));
    await page.goto(`${url}/docs`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert(wide <= width, `the page is ${wide} pixels wide, the screen ${width}`);
    await page.evaluate(() => {
      for (const closed of document.querySelectorAll("details")) closed.open = true;
    });

    const send = async (operation, body) => {
      const form = page.locator(`#${operation} form`);
      await form.locator("[name=body]").evaluate((field, text) => { field.value = text; }, JSON.stringify(body));
      await form.getByRole("button").click();
      const output = form.locator("output");
      await output.filter({ hasText: /^\d/ }).waitFor({ timeout: 60_000 });
      return output.textContent();
    };
    const account = { email: `docs-${crypto.randomUUID()}@example.com`, password: "a long pass phrase" };
    const order = { lines: [{ sku: "stoneware-cup", quantity: 1 }], payment_method: "pm_card_visa" };
    assert.match(await send("registerUser", { ...account, name: "Ada" }), /^201/);
    assert.match(await send("logIn", account), /^200/);
    assert.match(await send("placeOrder", order), /^20[02]/);
    await page.evaluate(readFileSync(require.resolve("axe-core/axe.min.js"), "utf8"));
    const found = await page.evaluate(() => axe.run({ resultTypes: ["violations"] }));
    const grave = found.violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    assert.deepEqual(grave.map(({ id, nodes }) => [id, nodes.length, nodes[0].html]), []);
    assert.deepEqual(faults, []);
    await page.close();
  }
}

async function main([part, origin]) {
  const server = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<!doctype html>"));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  // Every page of localhost is the server's, so no port has to be free.
  const args = [...FLAGS, `--host-resolver-rules=MAP localhost 127.0.0.1:${port}`];
  const browser = await chromium.launch({ ...chosen, args });
  try {
    await (part === "docs" ? docs(browser) : page(browser, origin, port));
  } finally {
    await browser.close();
    server.close();
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
