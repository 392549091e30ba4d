// The arithmetic of srprune/selection/rank_window.py, in whole numbers, so that the command on the
// screen keeps exactly the patches on the screen.

/** A decimal number as [numerator, denominator]; null where the text is not one. */
function fraction(text) {
  const match = /^(\d*)\.?(\d*)(?:e([+-]?\d{1,3}))?$/i.exec(text.trim());
  if (!match || !(match[1] + match[2])) return null;
  const power = Number(match[3] || 0) - match[2].length;
  const digits = BigInt(match[1] + match[2]);
  return power >= 0 ? [digits * 10n ** BigInt(power), 1n] : [digits, 10n ** BigInt(-power)];
}

/** floor(share * N + 1/2), exactly: 0.35 means 35/100, not its nearest double. */
function portion(share, count) {
  const [numerator, denominator] = fraction(String(share));
  return Number((2n * numerator * BigInt(count) + denominator) / (2n * denominator));
}

/** The share with the fewest decimals of which `portion` makes k again. */
function shareOf(k, count) {
  for (let decimals = 2; decimals < 17; decimals += 1) {
    const share = Number((k / count).toFixed(decimals));
    if (portion(share, count) === k) return share;
  }
  return k / count;
}

/** First rank and number of ranks, or what is wrong, in words. */
function windowOf(ratio, offset, count) {
  if (!(ratio > 0 && ratio <= 1)) return { fault: "ratio must be above 0 and at most 1" };
  if (!(offset >= 0 && offset < 1)) return { fault: "offset must be at least 0 and below 1" };
  const first = portion(offset, count);
  const size = portion(ratio, count);
  if (size === 0) return { fault: `ratio ${ratio} of ${count} patches keeps none` };
  if (first + size > count) return { fault: `${first + size - count} patches too many` };
  return { first, size };
}

/** Patch ids by falling (des) or rising (asc) score; ties go to the lower id. */
function ranked(scores, rule) {
  const order = Uint32Array.from(scores, (_, id) => id);
  return rule === "asc"
    ? order.sort((a, b) => scores[a] - scores[b] || a - b)
    : order.sort((a, b) => scores[b] - scores[a] || a - b);
}

/** Numbers in [0, 1), the same for the same seed (mulberry32, Tommy Ettinger, public domain). */
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
