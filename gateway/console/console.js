// The console is a client of the public API and knows nothing else. Everything that came from the plant is set as
// text, never as markup.
import { tone, packml, orderTone, componentTone, plain, tagText, decimal, unit, ago, clock, short, rates } from './words.js';

const $ = (id) => document.getElementById(id);

// el makes an element; children may be strings, nodes or null.
function el(tag, cls, ...children) {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}
const pill = (text, cls) => el('span', 'pill ' + cls, text);

const state = {
  lines: new Map(), // asset path -> Map(tag id -> tag value)
  since: new Map(), // asset path -> {name, at}: the line's state and since when
  orders: [], moreOrders: false, shown: 15,
  quality: new Map(), // event id -> event; the newest twelve
  status: null, dead: [], rates: rates(),
  failedSince: 0, tagsLive: false, eventsLive: false,
};
const keptQuality = 12;
const longWait = 60000; // ms: a line that is held or suspended for shorter is a micro-stop, nobody need look

async function get(path) {
  const r = await fetch(path, { headers: { accept: 'application/json' }, signal: AbortSignal.timeout(8000) });
  if (!r.ok) throw new Error(`${path} answered ${r.status}`);
  return r.json();
}

// row makes a table row; each cell is [content, class]. The head's texts label the cells on narrow screens.
function row(body, cells, first = 'td') {
  const heads = body.parentElement.tHead.rows[0].cells;
  return el('tr', '', ...cells.map(([content, cls], i) => {
    const td = el(i === 0 ? first : 'td', (cls || '') + (content === '' ? ' none' : ''), content);
    if (i === 0 && first === 'th') td.scope = 'row';
    td.dataset.label = heads[i].textContent;
    return td;
  }));
}

// held reports whether someone is marking text in there, to copy it: it must not be drawn anew meanwhile.
const held = (e) => { const s = getSelection(); return s.type === 'Range' && e.contains(s.anchorNode); };

function fill(body, rows, empty) {
  if (held(body)) return;
  if (rows.length === 0) {
    const td = el('td', 'empty', empty);
    td.colSpan = body.parentElement.tHead.rows[0].cells.length;
    rows = [el('tr', '', td)];
  }
  body.replaceChildren(...rows);
}

function bar(done, planned, label) {
  const share = Math.max(0, Math.min(1, done / planned));
  const i = el('i');
  i.style.width = `${100 * share}%`;
  const b = el('span', share >= 1 ? 'bar full' : 'bar', i);
  b.setAttribute('role', 'progressbar');
  b.setAttribute('aria-label', label);
  b.setAttribute('aria-valuemin', '0');
  b.setAttribute('aria-valuemax', String(planned));
  b.setAttribute('aria-valuenow', String(done));
  return b;
}

// time shows how long ago, with the full time for who points at it.
function time(t) {
  const e = el('time', '', ago(t));
  if (t) { e.dateTime = t; e.title = new Date(t).toLocaleString(); }
  return e;
}

// find returns the tag whose name ends so; tags of a line are told by the usual names of PackML machines.
const find = (tags, ...ends) => [...tags.values()].find((t) => ends.some((e) => t.tagId.toLowerCase().endsWith(e)));

function stateOf(tags) {
  const st = find(tags, '.state', '/state');
  return { st, name: !st ? '' : st.quality === 'QUALITY_BAD' ? st.statusName : packml(plain(st.value)) };
}

// enter notes since when a line is in its state: the source time of the first value that said so.
function enter(asset, tags) {
  const { st, name } = stateOf(tags);
  if (st && state.since.get(asset)?.name !== name) state.since.set(asset, { name, at: st.sourceTime });
}

function drawLine(asset, tags) {
  const { st, name } = stateOf(tags), order = find(tags, 'order.no', 'order_no'), orderID = order && plain(order.value);
  const bad = [...tags.values()].filter((t) => t.quality === 'QUALITY_BAD');
  const card = el('article', 'card ' + (st ? tone(name) : ''));
  card.append(el('h3', '', asset.split('/').pop(), name ? pill(name, tone(name)) : null), el('p', 'where', asset.split('/').slice(0, -1).join(' / ')));
  const o = state.orders.find((x) => x.orderId === orderID);
  if (order) card.append(el('p', 'order', el('span', 'soft', 'Order'), el('b', orderID ? '' : 'soft', orderID || 'none')));
  if (o && Number(o.planned) > 0) {
    const done = Number(o.reported?.good?.value || 0);
    card.append(bar(done, Number(o.planned), `Order ${orderID}`), el('p', 'order', el('span', 'soft', `${decimal(o.reported?.good?.value)} good of ${decimal(o.planned)}`), el('b', '', `${Math.floor((100 * done) / Number(o.planned))} %`)));
  }
  const dl = el('dl');
  const known = [['Good counter', find(tags, 'cnt.good', '/good')], ['Scrap counter', find(tags, 'cnt.scrap', '/scrap')], ['Speed', find(tags, 'speed')]].filter(([, t]) => t);
  const others = known.length || st ? [] : [...tags.values()].slice(0, 6).map((t) => [t.tagId.split('/').pop(), t]);
  for (const [label, t] of [...known, ...others]) dl.append(el('dt', '', label), el('dd', t.quality === 'QUALITY_BAD' ? 'bad' : t.quality === 'QUALITY_UNCERTAIN' ? 'warn' : '', tagText(t)));
  const newest = [...tags.values()].map((t) => t.receiveTime || t.sourceTime || '').sort().pop();
  dl.append(el('dt', '', 'Newest value'), el('dd', '', time(newest)));
  card.append(dl);
  if (bad.length) card.append(el('p', 'note bad', `${bad.length} bad ${bad.length === 1 ? 'tag' : 'tags'}: ` + bad.slice(0, 4).map((t) => `${t.tagId.split('/').pop()} ${t.statusName}`).join(', ') + (bad.length > 4 ? ' …' : '')));
  return card;
}

function drawLines() {
  if (held($('lines'))) return;
  const cards = [...state.lines.keys()].sort((a, b) => a.localeCompare(b, undefined, { numeric: true })).map((a) => drawLine(a, state.lines.get(a)));
  $('lines').replaceChildren(...(cards.length ? cards : [el('p', 'empty', 'No tag value has arrived yet. Is a source running? See the components below.')]));
}

function drawOrders() {
  const body = $('orders');
  fill(body, state.orders.slice(0, state.shown).map((o) => {
    const good = Number(o.reported?.good?.value || 0), planned = Number(o.planned || 0), st = short(o.state, 'ORDER_STATE_');
    const share = planned > 0 ? `${Math.floor((100 * good) / planned)} %` : '';
    const line = (o.assetPath || '').split('/').pop() || o.order?.operations?.[0]?.workCenter || '';
    const tr = row(body, [
      [o.orderId], [line], [pill(st.toLowerCase(), orderTone(st))],
      [planned > 0 ? el('span', '', bar(good, planned, `Order ${o.orderId}`), el('span', 'soft', `${share} of ${decimal(o.planned)}`)) : '', 'wide'],
      [decimal(o.reported?.good?.value) || '', 'num good'], [decimal(o.reported?.scrap?.value) || '', 'num'],
      [(o.lastEventType || '').toLowerCase().replaceAll('_', ' ') + (o.finalConfirmation ? ', final' : '')], [time(o.changedAt), 'num soft'],
    ], 'th');
    tr.dataset.order = o.orderId;
    return tr;
  }), 'No order yet: neither the ERP nor a line has named one.');
  $('more-orders').hidden = state.orders.length <= state.shown && !state.moreOrders;
}

function drawQuality() {
  const body = $('quality');
  const newest = [...state.quality.values()].sort((a, b) => (b.header?.occurredAt || '').localeCompare(a.header?.occurredAt || '')).slice(0, keptQuality);
  fill(body, newest.map((q) => {
    const r = q.results?.[0] || {}, verdict = short(q.verdict, 'VERDICT_'), v = plain(r.value);
    return row(body, [
      [pill(verdict.toLowerCase().replaceAll('_', ' ') || 'none', verdict === 'PASS' ? 'ok' : verdict === 'FAIL' ? 'bad' : 'warn')],
      [q.header?.scope?.workCenter || ''], [(q.serialNumbers || []).join(', ')], [(r.characteristicId || '').replaceAll('_', ' ')],
      [v === null ? 'not measured' : `${v} ${unit(r.unitCode)}`, v === null ? 'num soft' : 'num'], [q.orderId || ''], [el('span', '', clock(q.header?.occurredAt)), 'num soft'],
    ]);
  }), 'No result yet.');
}

// What tells most about a component of each kind; lag is how far the mapping is behind what was collected.
const main = { source: ['samples', 'samples'], map: ['events', 'events'], sink: ['delivered', 'delivered'], dispatch: ['orders_dispatched', 'orders'] };

function lagOf(c) {
  const read = c.kind === 'map' && c.counters?.input_time_seconds;
  return read ? Math.max(0, Date.parse(c.reportedAt) / 1000 - read) : null;
}

function drawComponents(all) {
  const body = $('components'), rank = { bad: 0, warn: 1, '': 2, ok: 3 };
  const sorted = all.map((c) => ({ c, st: short(c.state, 'COMPONENT_STATE_').toLowerCase() })).sort((a, b) => rank[componentTone(a.st)] - rank[componentTone(b.st)] || a.c.name.localeCompare(b.c.name));
  fill(body, sorted.map(({ c, st }) => {
    const [counter, unit] = main[c.kind] || [], r = counter && state.rates.of(c, counter), lag = lagOf(c);
    return row(body, [
      [c.name], [pill(st || 'unknown', componentTone(st))], [r === null || r === undefined ? '' : `${r.toFixed(1)} ${unit}/s`, 'num'],
      [lag === null ? '' : `${lag.toFixed(1)} s`, lag > 10 ? 'num warn' : 'num'], [time(c.since), 'num soft'], [c.reason || '', 'wide'],
    ], 'th');
  }), 'No component has reported yet.');
}

function drawFlow(all) {
  const sum = (kind) => {
    const of = all.filter((c) => c.kind === kind).map((c) => state.rates.of(c, main[kind][0])).filter((r) => r !== null);
    return of.length ? of.reduce((a, b) => a + b, 0) : null;
  };
  const lags = all.map(lagOf).filter((l) => l !== null);
  const shown = [['samples per second', sum('source')], ['events per second', sum('map')], ['delivered per second', sum('sink')], ['mapping lag (s)', lags.length ? Math.max(...lags) : null]];
  $('flow').replaceChildren(...shown.map(([label, v]) => el('div', '', el('dt', '', label), el('dd', label.startsWith('mapping') && v > 10 ? 'warn' : '', v === null ? '–' : v.toFixed(1)))));
}

function stuckItem(cls, kind, text, since) {
  return { cls, node: el('li', '', el('span', '', pill(kind, cls)), el('span', '', ...text), el('span', 'soft', since ? time(since) : '')) };
}

function drawStuck(s) {
  const items = [];
  for (const c of s.components || []) {
    if (c.state === 'COMPONENT_STATE_DOWN') items.push(stuckItem('bad', 'down', [el('b', '', c.name), ` ${c.reason || ''}`], c.since));
    if (c.state === 'COMPONENT_STATE_DEGRADED') items.push(stuckItem('warn', 'degraded', [el('b', '', c.name), ` ${c.reason || ''}`], c.since));
  }
  for (const [asset, { name, at }] of state.since) {
    const cls = tone(name), waits = cls === 'warn' && Date.now() - Date.parse(at) > longWait;
    if (cls === 'bad' || waits) items.push(stuckItem(cls, name.toLowerCase(), [el('b', '', asset.split('/').pop()), cls === 'bad' ? ' The line has stopped, or its state cannot be read.' : ' The line waits.'], at));
  }
  for (const h of s.held || []) items.push(stuckItem('bad', 'held', [el('b', '', `${h.sink}, ${h.key}`), ` ${h.reason}. ${h.waiting || 0} waiting behind it.`], h.since));
  if (Number(s.deadLetters || 0) > 0) {
    const newest = state.dead[0];
    items.push(stuckItem('warn', 'dead letters', [el('b', '', `${s.deadLetters}`), newest ? ` newest: ${newest.stage}, ${newest.reason}` : ''], newest?.at));
  }
  items.sort((a, b) => (a.cls === b.cls ? 0 : a.cls === 'bad' ? -1 : 1));
  $('stuck').hidden = items.length === 0;
  $('stuck').classList.toggle('warn-only', !items.some((i) => i.cls === 'bad'));
  $('dead-link').hidden = !(Number(s.deadLetters || 0) > 0);
  if (!held($('stuck-list'))) $('stuck-list').replaceChildren(...items.map((i) => i.node));
  const urgent = items.filter((i) => i.cls === 'bad').length;
  say(urgent ? 'bad' : items.length || !s.ready ? 'warn' : 'ok',
    urgent ? `${urgent} ${urgent === 1 ? 'thing needs' : 'things need'} a person` : !s.ready ? 'Starting: what is shown is not complete' : items.length ? 'Running, with something to look at' : 'All is running', urgent || items.length);
}

// say sets the verdict; its text changes only when it says something else, so that a screen reader stays quiet.
function say(cls, text, count) {
  if ($('verdict').textContent !== text) $('verdict').textContent = text;
  $('verdict').className = 'verdict ' + cls;
  document.title = count ? `(${count}) Plantloom` : 'Plantloom';
}

function drawStatus() {
  const s = state.status, all = s.components || [];
  $('plant').textContent = s.namespace || '';
  $('version').textContent = `Plantloom ${s.version || ''}`;
  state.rates.take(all);
  drawFlow(all);
  drawComponents(all);
  drawStuck(s);
}

function drawLive() {
  const ok = state.tagsLive && state.eventsLive;
  $('live').className = 'live ' + (ok ? 'ok' : 'warn');
  $('live-text').textContent = ok ? 'live' : 'reconnecting';
}

async function refresh() {
  try {
    const [s, o] = await Promise.all([get('/v1/status'), get(`/v1/orders?page_size=${Math.min(500, state.shown + 35)}`)]);
    if (Number(s.deadLetters || 0) > 0 && Number(s.deadLetters) !== Number(state.status?.deadLetters || 0)) state.dead = (await get('/v1/deadletters?page_size=1')).deadLetters || [];
    state.status = s;
    state.orders = o.orders || [];
    state.moreOrders = Boolean(o.nextPageToken);
    state.failedSince = 0;
    drawStatus();
    drawOrders();
    drawLines();
  } catch (e) {
    state.failedSince ||= Date.now();
    say('bad', 'No connection to Plantloom', '!');
    $('offline').textContent = `The API has not answered since ${clock(new Date(state.failedSince).toISOString())} (${e.message}). What you see is old. Is plantloom running?`;
  }
  $('offline').hidden = !state.failedSince;
  document.body.classList.toggle('old', Boolean(state.failedSince));
}

// follow opens an event stream and opens it again when the browser has given up: it does after an answer other than 200.
function follow(path, listeners, live) {
  let source = null, again = 0;
  const open = () => {
    source = new EventSource(path);
    source.onopen = () => live(true);
    source.onerror = () => {
      live(false);
      if (source.readyState === EventSource.CLOSED) again = setTimeout(open, 3000);
    };
    for (const [name, f] of Object.entries(listeners)) source.addEventListener(name, (m) => f(JSON.parse(m.data)));
  };
  open();
  return () => { clearTimeout(again); source.close(); };
}

let due = 0, drawing = 0, timer = 0, closers = [];
const soon = () => { due ||= setTimeout(() => { due = 0; refresh(); }, 250); };

function start() {
  if (timer) return;
  refresh();
  timer = setInterval(refresh, 2000);
  closers = [
    // look_back bounds what is sent again when the page is opened; after that the browser resumes by Last-Event-ID.
    follow('/v1/events?look_back=50', {
      ProductionOrderEvent: soon,
      QualityEvent: (e) => {
        state.quality.set(e.eventId, e.quality);
        if (state.quality.size > 10 * keptQuality) state.quality = new Map([...state.quality].slice(-5 * keptQuality));
        drawQuality();
      },
    }, (ok) => { state.eventsLive = ok; drawLive(); }),
    follow('/v1/tags:watch', {
      tag: (t) => {
        const asset = t.assetPath || 'unassigned';
        if (!state.lines.has(asset)) state.lines.set(asset, new Map());
        state.lines.get(asset).set(t.tagId, t);
        enter(asset, state.lines.get(asset));
        drawing ||= setTimeout(() => { drawing = 0; drawLines(); }, 200);
      },
    }, (ok) => { state.tagsLive = ok; drawLive(); }),
  ];
}

function stop() {
  clearInterval(timer);
  timer = 0;
  closers.forEach((close) => close());
  closers = [];
}

// A browser holds six connections to a server for all its tabs: one that nobody looks at gives its own back.
document.addEventListener('visibilitychange', () => (document.hidden ? stop() : start()));
$('more-orders').addEventListener('click', () => { state.shown = Math.min(465, state.shown + 50); refresh(); });
drawLines();
drawOrders();
drawQuality();
start();
