// What things are called and how values are written. Nothing here touches the page.

const states = { 1: 'Clearing', 2: 'Stopped', 3: 'Starting', 4: 'Idle', 5: 'Suspended', 6: 'Execute', 7: 'Stopping', 8: 'Aborting', 9: 'Aborted', 10: 'Holding', 11: 'Held', 12: 'Unholding', 13: 'Suspending', 14: 'Unsuspending', 15: 'Resetting', 16: 'Completing', 17: 'Complete' };

// packml names a PackML state of the OPC UA companion specification.
export const packml = (n) => states[n] || (n === null ? 'unknown' : String(n));

// tone of a line's state: ok runs, warn waits for something, bad has failed.
export function tone(name) {
  if (['Execute', 'Completing', 'Starting', 'Unholding', 'Unsuspending'].includes(name)) return 'ok';
  if (['Held', 'Holding', 'Suspended', 'Suspending'].includes(name)) return 'warn';
  if (['Aborted', 'Aborting', 'Clearing', 'unknown'].includes(name) || name.startsWith('Bad')) return 'bad';
  return '';
}

export const orderTone = (st) => ({ RUNNING: 'ok', PAUSED: 'warn', HELD: 'warn', SUSPENDED: 'warn', ABORTED: 'bad' })[st] || '';
export const componentTone = (st) => ({ running: 'ok', starting: 'warn', degraded: 'warn', down: 'bad' })[st] || '';
export const short = (v, prefix) => (v || '').replace(prefix, '');

// plain takes the value out of the API's oneof, null when there is none.
export const plain = (v) => (v ? Object.values(v)[0] : null);

// decimal groups the digits of an exact decimal without turning it into a binary number.
export function decimal(text) {
  if (!text) return text === undefined ? '' : text;
  const [whole, fraction] = text.split('.');
  return whole.replace(/\B(?=(\d{3})+$)/g, '\u202f') + (fraction ? '.' + fraction : '');
}

// UNECE Recommendation 20 codes that people know by another name; pieces need no unit.
const units = { C62: '', H87: '', NU: 'N·m', LTR: 'l', MLT: 'ml', KGM: 'kg', GRM: 'g', MTR: 'm', MMT: 'mm', CEL: '°C', SEC: 's', MIN: 'min', KWH: 'kWh', P1: '%' };
export const unit = (code) => units[code] ?? code ?? '';

// tagText writes a tag's value with its unit, or its status where it has no good value.
export function tagText(t) {
  if (t.quality === 'QUALITY_BAD') return t.statusName;
  const v = plain(t.value);
  if (v === null) return 'no value';
  const text = typeof v === 'number' && !Number.isInteger(v) ? v.toFixed(1) : typeof v === 'number' || /^\d+$/.test(v) ? decimal(String(v)) : String(v);
  return `${text} ${unit(t.unitCode)}`.trim() + (t.quality === 'QUALITY_UNCERTAIN' ? ' (uncertain)' : '');
}

export const clock = (t) => (t ? new Date(t).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false }) : '');

export function ago(t) {
  if (!t) return '';
  const s = Math.max(0, (Date.now() - Date.parse(t)) / 1000);
  if (s < 2) return 'now';
  if (s < 90) return `${Math.floor(s)} s ago`;
  if (s < 5400) return `${Math.floor(s / 60)} min ago`;
  if (s < 129600) return `${Math.floor(s / 3600)} h ago`;
  return new Date(t).toLocaleDateString();
}

// rates keeps counters for some seconds and says how fast they rise, by the clock of the process that reports them.
export function rates() {
  const kept = new Map(), span = 10000;
  const key = (c) => `${c.instance} ${c.name}`;
  return {
    take(components) {
      for (const c of components) {
        const at = Date.parse(c.reportedAt), list = kept.get(key(c)) || [], last = list[list.length - 1];
        if (!at || (last && at <= last.at)) continue;
        list.push({ at, counters: c.counters || {} });
        while (list.length > 2 && at - list[1].at >= span) list.shift();
        kept.set(key(c), list);
      }
    },
    // of returns the rate per second, null while it is not known.
    of(c, counter) {
      const list = kept.get(key(c)) || [], first = list[0], last = list[list.length - 1];
      if (list.length < 2) return null;
      const rise = (last.counters[counter] || 0) - (first.counters[counter] || 0);
      return rise < 0 ? null : (rise * 1000) / (last.at - first.at); // it falls when the process has started again
    },
  };
}
