export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What a scrape found, in the text format of Prometheus. */
export interface Metrics {
  readonly samples: readonly Sample[];
  /** The sum of the samples of that name whose labels include the given ones; 0 when there are none. */
  value(name: string, labels?: Readonly<Record<string, string>>): number;
  find(name: string, labels?: Readonly<Record<string, string>>): Sample[];
}

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

export function parseMetrics(text: string): Metrics {
  const samples = text.split('\n').flatMap((line) => {
    const [, name, labels = '', value = ''] = SAMPLE.exec(line) ?? [];
    return name === undefined ? [] : [{ name, labels: parseLabels(labels), value: parseValue(value) }];
  });
  const find: Metrics['find'] = (name, labels = {}) =>
    samples.filter(
      (sample) =>
        sample.name === name &&
        Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
    );
  return {
    samples,
    find,
    value: (name, labels) => find(name, labels).reduce((total, sample) => total + sample.value, 0),
  };
}

function parseLabels(text: string): Record<string, string> {
  const pairs = [...text.matchAll(LABEL)].map(([, name = '', value = '']): [string, string] => [
    name,
    unescape(value),
  ]);
  return Object.fromEntries(pairs);
}

function unescape(text: string): string {
  return text.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
}

function parseValue(text: string): number {
  return text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text);
}
