// The console is a client of the public API and knows nothing else. Everything that came from the plant is set as
// text, never as markup.
const $ = (id) => document.getElementById(id);
const el = (tag, text, cls) => { const e = document.createElement(tag); if (text !== undefined && text !== null) e.textContent = text; if (cls) e.className = cls; return e; };
const clock = (t) => (t ? new Date(t).toLocaleTimeString() : '');
const short = (v, prefix) => (v || '').replace(prefix, '');
const lines = new Map(); // asset path -> Map(tag id -> value)
const quality = [];
const counters = new Map(); // component/counter -> {value, at, rate}
let orders = [];

const packml = { 1: 'Clearing', 2: 'Stopped', 3: 'Starting', 4: 'Idle', 5: 'Suspended', 6: 'Execute', 7: 'Stopping', 8: 'Aborting', 9: 'Aborted', 10: 'Holding', 11: 'Held', 12: 'Unholding', 13: 'Suspending', 14: 'Unsuspending', 15: 'Resetting', 16: 'Completing', 17: 'Complete' };

async function get(path) {
  const r = await fetch(path, { headers: { accept: 'application/json' } });
  if (!r.ok) throw new Error(`${path}: ${r.status}`);
  return r.json();
}

function plain(v) {
  if (!v) return null;
  return Object.values(v)[0];
}

function fill(body, rows, empty, columns) {
  if (rows.length === 0) {
    const tr = el('tr'); const td = el('td', empty, 'empty'); td.colSpan = columns; tr.append(td); rows = [tr];
  }
  body.replaceChildren(...rows);
}

function drawLines() {
  const cards = [...lines.keys()].sort().map((asset) => {
    const tags = lines.get(asset);
    const find = (...ends) => { for (const [id, t] of tags) if (ends.some((e) => id.toLowerCase().endsWith(e))) return t; return null; };
    const state = find('.state', '/state');
    const order = find('order.no', 'order_no');
    const stateNo = state && plain(state.value);
    const card = el('article', null, 'card');
    const h = el('h3', asset.split('/').pop());
    const bad = [...tags.values()].filter((t) => t.quality === 'QUALITY_BAD');
    const name = state && state.quality === 'QUALITY_BAD' ? state.statusName : packml[stateNo] || (state ? String(stateNo) : 'unknown');
    h.append(el('span', name, 'pill ' + (name === 'Execute' ? 'ok' : ['Held', 'Aborted', 'Suspended'].includes(name) ? 'warn' : 'soft')));
    card.append(h);
    const dl = el('dl');
    const row = (k, v, cls) => { dl.append(el('dt', k), el('dd', v, cls)); };
    row('Order', (order && plain(order.value)) || '–');
    for (const [label, ...ends] of [['Good counter', 'cnt.good', '/good'], ['Scrap counter', 'cnt.scrap', '/scrap'], ['Speed', 'speed']]) {
      const t = find(...ends);
      if (!t) continue;
      const v = plain(t.value);
      row(label, t.quality === 'QUALITY_BAD' ? t.statusName : typeof v === 'number' ? String(Math.round(v * 10) / 10) : String(v ?? '–'), t.quality === 'QUALITY_BAD' ? 'bad' : '');
    }
    if (bad.length) row('Bad tags', String(bad.length), 'bad');
    const newest = [...tags.values()].map((t) => t.sourceTime).sort().pop();
    row('Newest value', clock(newest), 'soft');
    card.append(dl);
    return card;
  });
  $('lines').replaceChildren(...(cards.length ? cards : [el('p', 'No tag has arrived yet.', 'empty')]));
}

function drawOrders() {
  fill($('orders'), orders.map((o) => {
    const tr = el('tr'); tr.dataset.order = o.orderId;
    const good = Number(o.reported?.good?.value || 0), scrap = Number(o.reported?.scrap?.value || 0), planned = Number(o.planned || 0);
    const state = short(o.state, 'ORDER_STATE_');
    tr.append(el('td', o.orderId), el('td', (o.assetPath || '').split('/').pop() || o.order?.operations?.[0]?.workCenter || ''));
    const s = el('td'); s.append(el('span', state, 'pill ' + (state === 'RUNNING' ? 'ok' : ['HELD', 'ABORTED'].includes(state) ? 'bad' : 'soft'))); tr.append(s);
    const p = el('td');
    if (planned > 0) { const bar = el('progress'); bar.max = planned; bar.value = Math.min(good, planned); bar.title = `${good} of ${planned}`; p.append(bar, el('span', ` ${Math.round((100 * good) / planned)} %`, 'soft')); }
    tr.append(p, el('td', String(good), 'num good'), el('td', String(scrap), 'num'), el('td', (o.lastEventType || '') + (o.finalConfirmation ? ' · final' : '')), el('td', clock(o.changedAt), 'soft'));
    return tr;
  }), 'No order yet.', 8);
}

function drawQuality() {
  fill($('quality'), quality.map((q) => {
    const tr = el('tr'); const r = q.results?.[0] || {}; const verdict = short(q.verdict, 'VERDICT_');
    tr.append(el('td', clock(q.header?.occurredAt), 'soft'), el('td', q.header?.scope?.workCenter || ''), el('td', (q.serialNumbers || []).join(', ')), el('td', r.characteristicId || ''));
    const v = plain(r.value);
    tr.append(el('td', v === null ? '–' : `${v} ${r.unitCode || ''}`, 'num'), el('td', verdict, verdict === 'PASS' ? 'ok' : verdict === 'FAIL' ? 'bad' : 'warn'));
    return tr;
  }), 'No quality result yet.', 6);
}

function rate(component, name, value) {
  const key = component + '/' + name, now = Date.now(), old = counters.get(key);
  const r = old && now > old.at ? Math.max(0, ((value - old.value) * 1000) / (now - old.at)) : 0;
  counters.set(key, { value, at: now });
  return r;
}

function drawStatus(s) {
  $('summary').textContent = `${s.ready ? 'ready' : 'not ready'} · namespace ${s.namespace} · version ${s.version}`;
  $('summary').className = s.ready ? 'ok' : 'bad';
  const main = { source: 'samples', map: 'events', sink: 'delivered', dispatch: 'orders_dispatched' };
  fill($('components'), (s.components || []).map((c) => {
    const tr = el('tr'), state = short(c.state, 'COMPONENT_STATE_').toLowerCase(), n = c.counters || {};
    const td = el('td'); td.append(el('span', state, 'pill ' + (state === 'running' ? 'ok' : state === 'down' ? 'bad' : 'warn')));
    const lag = n.lag_records ?? (n.input_time_seconds ? null : undefined);
    tr.append(el('td', c.name), td, el('td', main[c.kind] && n[main[c.kind]] !== undefined ? rate(c.instance + c.name, main[c.kind], n[main[c.kind]]).toFixed(1) + '/s' : '', 'num'),
      el('td', lag === undefined || lag === null ? '' : String(lag), 'num'), el('td', clock(c.since), 'soft'), el('td', c.reason || ''));
    return tr;
  }), 'No component has reported yet.', 6);
  const stuck = [];
  for (const c of s.components || []) if (['COMPONENT_STATE_DOWN', 'COMPONENT_STATE_DEGRADED'].includes(c.state)) stuck.push(`${c.name}: ${c.reason}`);
  for (const h of s.held || []) stuck.push(`${h.sink}, order ${h.key}: ${h.reason} (${h.waiting || 0} waiting)`);
  if (Number(s.deadLetters || 0) > 0) stuck.push(`${s.deadLetters} dead letters: see /v1/deadletters`);
  $('stuck').hidden = stuck.length === 0;
  $('stuck-list').replaceChildren(...stuck.map((t) => el('li', t)));
}

async function refresh() {
  try {
    const [s, o] = await Promise.all([get('/v1/status'), get('/v1/orders?pageSize=30')]);
    orders = o.orders || []; drawStatus(s); drawOrders();
  } catch (e) { $('summary').textContent = `the API does not answer: ${e.message}`; $('summary').className = 'bad'; }
}

function live() {
  const events = new EventSource('/v1/events?from_start=true');
  let due = null;
  const soon = () => { if (!due) due = setTimeout(() => { due = null; refresh(); }, 250); };
  events.onopen = () => { $('live').textContent = 'live'; $('live').className = 'pill ok'; };
  events.onerror = () => { $('live').textContent = 'reconnecting'; $('live').className = 'pill warn'; };
  events.addEventListener('ProductionOrderEvent', soon);
  events.addEventListener('QualityEvent', (m) => {
    quality.unshift(JSON.parse(m.data).quality); quality.sort((a, b) => (b.header?.occurredAt || '').localeCompare(a.header?.occurredAt || '')); quality.length = Math.min(quality.length, 12); drawQuality();
  });
  const tags = new EventSource('/v1/tags:watch');
  let drawing = false;
  tags.addEventListener('tag', (m) => {
    const t = JSON.parse(m.data);
    if (!lines.has(t.assetPath)) lines.set(t.assetPath, new Map());
    lines.get(t.assetPath).set(t.tagId, t);
    if (!drawing) { drawing = true; setTimeout(() => { drawing = false; drawLines(); }, 200); }
  });
}

drawLines(); drawOrders(); drawQuality(); refresh(); setInterval(refresh, 2000); live();
