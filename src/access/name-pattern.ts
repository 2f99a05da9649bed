import type { RepositoryName } from '../oci/repository-name.ts';

/** Any number of components, none included. */
const ANY_NUMBER = '**';

/**
 * A pattern over repository names, anchored at both ends: `*` is any part of one component, `**` any number of components.
 * Matching never goes back: it takes time in proportion to the pattern times the name, whatever they are.
 */
export class NamePattern {
  readonly #components: readonly (readonly string[] | typeof ANY_NUMBER)[];
  /** Of a pattern without stars, which most are. */
  readonly #plain: string | undefined;
  /** What every name that matches begins with: most that do not match differ here. */
  readonly #front: string;

  /** `text` has passed the configuration's checks. */
  constructor(text: string) {
    this.#plain = text.includes('*') ? undefined : text;
    // Without the slash at its end: behind `team/**` stands `team` as well.
    this.#front = text.split('*', 1).join('').replace(/\/$/, '');
    this.#components = text
      .split('/')
      .map((component) => (component === ANY_NUMBER ? ANY_NUMBER : component.split('*')));
  }

  matches(name: RepositoryName): boolean {
    if (this.#plain !== undefined) return name === this.#plain;
    if (!name.startsWith(this.#front)) return false;
    // Every place in the pattern up to which it can stand for what was read so far.
    let places = this.#passing([0]);
    for (const component of name.split('/')) {
      const next: number[] = [];
      for (const place of places) {
        const wanted = this.#components[place];
        if (wanted === ANY_NUMBER) next.push(place);
        else if (wanted !== undefined && hasPieces(component, wanted)) next.push(place + 1);
      }
      if (next.length === 0) return false;
      places = this.#passing(next);
    }
    return places.has(this.#components.length);
  }

  /** The places, and those behind a `**` that stands for nothing there. */
  #passing(places: readonly number[]): Set<number> {
    const passing = new Set(places);
    // A set that grows while it is walked is walked to its new end.
    for (const place of passing) if (this.#components[place] === ANY_NUMBER) passing.add(place + 1);
    return passing;
  }
}

/** Whether the pieces, which stars stood between, are in the text: the ends at its ends, the others in order, each as early as can be. */
function hasPieces(text: string, pieces: readonly string[]): boolean {
  const [first = '', ...between] = pieces;
  const last = between.pop();
  if (last === undefined) return text === first;
  const end = text.length - last.length;
  if (first.length > end || !text.startsWith(first) || !text.endsWith(last)) return false;
  let from = first.length;
  for (const piece of between) {
    const at = text.indexOf(piece, from);
    if (at === -1) return false;
    from = at + piece.length;
  }
  return from <= end;
}
