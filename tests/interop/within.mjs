/** Options of a request that ends by itself. */
export const within = (options = {}) => ({ ...options, signal: AbortSignal.timeout(10_000) });

/** Waits until `condition` holds: what it came to. */
export async function until(what, condition, milliseconds = 20_000) {
  const end = Date.now() + milliseconds;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}
