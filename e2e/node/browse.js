// Opens a page in a headless Chromium and waits for what a person would see:
// browse.js '<options as JSON>'.
//
// options: executable, url, wait: [{selector, text, rises}] in this order (text
// is a regular expression, "" for any; with rises the element's number must grow
// while the page stands open), screenshot (file, optional), timeout (ms), width
// and height of the window.
// It prints one JSON line per wait with the text that was seen, and ends with
// status 1 and a reason on stderr when something does not appear, when the page
// throws or writes an error to its console, or when it was loaded again.
"use strict";

const { chromium } = require("playwright-core");

async function main() {
  const opts = Object.assign({ wait: [], timeout: 15000, width: 1280, height: 800 }, JSON.parse(process.argv[2]));
  const browser = await chromium.launch({ executablePath: opts.executable, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  try {
    const page = await browser.newPage({ viewport: { width: opts.width, height: opts.height } });
    const thrown = [];
    page.on("pageerror", (err) => thrown.push(err.message));
    page.on("console", (m) => m.type() === "error" && thrown.push(`${m.text()} (${m.location().url})`));
    let loads = 0;
    page.on("load", () => loads++);
    await page.goto(opts.url, { timeout: opts.timeout, waitUntil: "load" });
    for (const { selector, text, rises } of opts.wait) {
      const seen = page.locator(selector).filter({ hasText: new RegExp(text || "") }).first();
      await seen.waitFor({ state: "visible", timeout: opts.timeout });
      const from = rises ? await grown(page, seen, selector, opts.timeout) : undefined;
      process.stdout.write(JSON.stringify({ selector, text: await seen.innerText(), rises, from }) + "\n");
    }
    if (opts.screenshot) await page.screenshot({ path: opts.screenshot });
    if (thrown.length > 0) throw new Error(`the page reports errors: ${thrown.join("; ")}`);
    if (loads !== 1) throw new Error(`the page was loaded ${loads} times`);
  } finally {
    await browser.close();
  }
}

// grown waits until the element's number is larger than it is now, and returns
// what it was.
async function grown(page, seen, selector, timeout) {
  const number = async () => Number.parseFloat(await seen.innerText()) || 0; // an empty cell is none yet
  const from = await number();
  for (const end = Date.now() + timeout; !((await number()) > from); ) {
    if (Date.now() > end) throw new Error(`${selector} is ${await seen.innerText()} and does not rise`);
    await page.waitForTimeout(100);
  }
  return from;
}

main().catch((err) => {
  process.stderr.write(`${err.message}\n`);
  process.exit(1);
});
