// One bottling line as a PLC would run it: counters, an order block, a download
// block with a level handshake and a capping station. It moves in fixed steps,
// so that the same options give the same totals, and knows nothing of OPC UA:
// `out(name, value, at, bad)` publishes a tag, `truth(record)` writes what
// really happened.
"use strict";

const STATE = { STARTING: 3, IDLE: 4, EXECUTE: 6, COMPLETING: 16, COMPLETE: 17 };

// A step of the line lasts this long where nothing else is said (ms).
const STEP = 20;

class Line {
  // opts: rate (bottles/s), scrapEvery, firstGood, firstScrap, orders, capEvery
  // (bottles between two capping results), maxTarget.
  constructor(opts, out, truth, now) {
    Object.assign(this, { opts, out, truth, now });
    this.last = 0; // source time of the newest change, ms
    this.good = opts.firstGood;
    this.scrap = opts.firstScrap;
    this.order = null; // runs, or its totals still stand
    this.next = null; // downloaded, waits
    this.produced = new Set();
    this.bottles = 0;
    this.cap = { number: 0, pending: false };
    this.cmd = {};
  }

  // at returns a source time later than all before: times tell the order of
  // changes even when several fall into one millisecond of the clock.
  at() {
    this.last = Math.max(this.now(), this.last + 1);
    return new Date(this.last);
  }

  set(name, value, at = this.at(), bad = "") {
    this.out(name, value, at, bad);
  }

  boot() {
    const at = this.at();
    const zero = {
      State: STATE.IDLE, Speed: 0, "Cnt.Good": this.good, "Cnt.Scrap": this.scrap,
      "Order.No": "", "Order.Operation": "", "Order.Good": 0, "Order.Scrap": 0, "Order.Done": false, "Order.AckNo": "",
      "Cmd.OrderNo": "", "Cmd.Operation": "", "Cmd.Target": 0, "Cmd.Material": "", "Cmd.FillVolume": 0, "Cmd.CapTorque": 0,
      "Cmd.Load": false, "Cmd.Loaded": false, "Cmd.Refused": false, "Cmd.ErrNo": 0,
      "Cap.Ready": false, "Cap.Serial": "", "Cap.Torque": 0, "Cap.AckSerial": "",
    };
    for (const [name, value] of Object.entries(zero)) this.set(name, value, at);
    this.queue = [...this.opts.orders];
    this.advance();
  }

  // written is called for every value that a client wrote.
  written(name, value) {
    if (name === "Order.AckNo") return this.ackOrder(value);
    if (name === "Cap.AckSerial") return this.ackCap(value);
    this.cmd[name] = value;
    if (name === "Cmd.Load") this.load(value);
  }

  // load answers the download request: the level of Load is the request, the
  // level of Loaded or Refused the answer.
  load(on) {
    if (!on) {
      const at = this.at();
      this.set("Cmd.Loaded", false, at);
      this.set("Cmd.Refused", false, at);
      return;
    }
    const order = {
      no: this.cmd["Cmd.OrderNo"] || "", operation: this.cmd["Cmd.Operation"] || "",
      target: this.cmd["Cmd.Target"] || 0, material: this.cmd["Cmd.Material"] || "",
      fillVolume: this.cmd["Cmd.FillVolume"] || 0, capTorque: this.cmd["Cmd.CapTorque"] || 0,
    };
    const again = [this.order, this.next].some((o) => o && o.no === order.no && !o.done);
    const err = again ? 0 : this.refusal(order);
    if (err === 0 && !again) {
      this.next = order;
      this.advance();
    }
    const at = this.at();
    this.set("Cmd.ErrNo", err, at);
    this.set(err === 0 ? "Cmd.Loaded" : "Cmd.Refused", true, at);
    this.truth({ event: "download", order: order.no, target: order.target, outcome: err === 0 ? (again ? "again" : "loaded") : "refused", errno: err, at: at.toISOString() });
  }

  // refusal returns the PLC's error number, 0 when the order is accepted.
  refusal(o) {
    if (o.no === "") return 1;
    if (this.produced.has(o.no)) return 3;
    if (o.target === 0 || o.target > this.opts.maxTarget) return 4;
    if (!(o.fillVolume >= 0.1 && o.fillVolume <= 2.0 && o.capTorque >= 10 && o.capTorque <= 25)) return 5;
    return this.next ? 2 : 0;
  }

  // advance starts the waiting order when the line is free.
  advance() {
    if (!this.next) this.next = this.queue.shift() || null;
    if (this.order || !this.next) return;
    this.order = { ...this.next, good: 0, scrap: 0, done: false };
    this.next = null;
    const o = this.order;
    const at = this.at();
    o.from = at;
    this.set("Order.No", o.no, at);
    this.set("Order.Operation", o.operation, at);
    this.set("Order.Good", 0, at);
    this.set("Order.Scrap", 0, at);
    this.set("Order.Done", false, at);
    this.set("State", STATE.STARTING, at);
    this.truth({ event: "order_started", order: o.no, operation: o.operation, target: o.target, at: at.toISOString() });
    setTimeout(() => this.run(o), 10 * STEP);
  }

  run(o) {
    this.set("State", STATE.EXECUTE);
    const timer = setInterval(() => {
      this.bottle(o);
      if (o.good < o.target) return;
      clearInterval(timer);
      this.set("Speed", 0);
      this.set("State", STATE.COMPLETING);
      setTimeout(() => this.done(o), 5 * STEP);
    }, 1000 / this.opts.rate);
  }

  // bottle counts one bottle: every scrapEvery-th is scrap.
  bottle(o) {
    this.bottles++;
    const at = this.at();
    if (this.opts.scrapEvery > 0 && this.bottles % this.opts.scrapEvery === 0) {
      this.scrap = (this.scrap + 1) & 0xffff;
      this.set("Cnt.Scrap", this.scrap, at);
      this.set("Order.Scrap", ++o.scrap, at);
    } else {
      this.good = (this.good + 1) & 0xffff;
      this.set("Cnt.Good", this.good, at);
      this.set("Order.Good", ++o.good, at);
    }
    const fault = this.bottles % 25;
    this.set("Speed", fault === 24 ? 0 : 60 * this.opts.rate, at, fault === 24 ? "bad" : fault === 12 ? "uncertain" : "");
    if (this.opts.capEvery > 0 && this.bottles % this.opts.capEvery === 0) this.present(o);
  }

  done(o) {
    const at = this.at();
    o.done = true;
    this.produced.add(o.no);
    this.set("Order.Done", true, at);
    this.set("State", STATE.COMPLETE, at);
    this.truth({ event: "order_done", order: o.no, operation: o.operation, good: o.good, scrap: o.scrap, from: o.from.toISOString(), at: at.toISOString() });
    // An acknowledgement that stands already has no effect: it was written
    // before the order was complete.
  }

  // ackOrder takes an acknowledgement by identity; any other has no effect.
  ackOrder(no) {
    const o = this.order;
    if (!o || !o.done || no !== o.no) return;
    this.order = null;
    const at = this.at();
    this.set("Order.Done", false, at);
    this.set("Order.No", "", at);
    this.set("Order.Operation", "", at);
    this.set("Order.Good", 0, at);
    this.set("Order.Scrap", 0, at);
    this.set("State", STATE.IDLE, at);
    this.truth({ event: "order_acked", order: o.no, at: at.toISOString() });
    setTimeout(() => this.advance(), 10 * STEP);
  }

  // present shows a capping result unless one waits for its acknowledgement:
  // first the ready bit, a little later serial and torque, every tenth torque
  // with bad quality.
  present(o) {
    if (this.cap.pending) return;
    const n = ++this.cap.number;
    const serial = `${this.opts.line}-${String(n).padStart(6, "0")}`;
    const torque = 15 + (n % 7) * 0.5;
    this.cap.pending = true;
    this.set("Cap.Ready", true);
    setTimeout(() => {
      const at = this.at();
      const bad = n % 10 === 0;
      this.set("Cap.Serial", serial, at);
      this.set("Cap.Torque", bad ? 0 : torque, at, bad ? "bad" : "");
      this.cap.serial = serial;
      this.truth({ event: "result", serial, torque: bad ? null : torque, quality: bad ? "bad" : "good", order: o.no, at: at.toISOString() });
    }, 5 * STEP);
  }

  ackCap(serial) {
    if (!this.cap.pending || serial !== this.cap.serial) return;
    this.cap.pending = false;
    this.set("Cap.Ready", false);
  }
}

module.exports = { Line };
