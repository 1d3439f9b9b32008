// Opens a page in a headless Chromium and waits for what a person would see:
// browse.js '<options as JSON>'.
//
// options: executable, url, wait: [{selector, text}] in this order (text is a
// regular expression, "" for any), screenshot (file, optional), timeout (ms).
// It prints one JSON line per wait with the text that was seen, and ends with
// status 1 and a reason on stderr when something does not appear, or when the
// page throws.
"use strict";

const { chromium } = require("playwright-core");

async function main() {
  const opts = Object.assign({ wait: [], timeout: 15000, width: 1280, height: 800 }, JSON.parse(process.argv[2]));
  const browser = await chromium.launch({ executablePath: opts.executable, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  try {
    const page = await browser.newPage({ viewport: { width: opts.width, height: opts.height } });
    const thrown = [];
    page.on("pageerror", (err) => thrown.push(err.message));
    await page.goto(opts.url, { timeout: opts.timeout, waitUntil: "domcontentloaded" });
    for (const { selector, text } of opts.wait) {
      const seen = page.locator(selector).filter({ hasText: new RegExp(text || "") }).first();
      await seen.waitFor({ state: "visible", timeout: opts.timeout });
      process.stdout.write(JSON.stringify({ selector, text: await seen.innerText() }) + "\n");
    }
    if (opts.screenshot) await page.screenshot({ path: opts.screenshot });
    if (thrown.length > 0) throw new Error(`the page throws: ${thrown.join("; ")}`);
  } finally {
    await browser.close();
  }
}

main().catch((err) => {
  process.stderr.write(`${err.message}\n`);
  process.exit(1);
});
