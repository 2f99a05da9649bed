/**
 * What one of several workers lets in of a limit that holds for all of them together. New connections fall on the workers by chance,
 * so each has its part and three standard deviations more: an address gets what it may have, and hardly more.
 */
export function shareOf(limit: number, workers: number): number {
  if (workers === 1) return limit;
  const part = limit / workers;
  return Math.min(limit, Math.ceil(part + 3 * Math.sqrt(part)));
}
