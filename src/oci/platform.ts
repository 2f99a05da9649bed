/** What an image was built for, as the OCI image index spec writes it in `platform`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** Of an index: the images for these platforms, or all that it names. */
export type PlatformChoice = readonly Platform[] | 'all';

export const PLATFORM_FORM = 'OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, like linux/amd64 or linux/arm/v7';

const PLATFORM = /^([a-z0-9._-]{1,64})\/([a-z0-9._-]{1,64})(?:\/([a-z0-9._-]{1,64}))?$/;
/** Left out by some builders and written by others: containerd takes each pair for one and the same. */
const IMPLIED_VARIANTS: Readonly<Record<string, string>> = { arm: 'v7', arm64: 'v8' };
/** Node's names that differ from Go's, which are the ones in an index. */
const GO_ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };

export function parsePlatform(text: string): Platform | undefined {
  const [, os, architecture, variant] = PLATFORM.exec(text) ?? [];
  if (os === undefined || architecture === undefined) return undefined;
  return { os, architecture, ...(variant !== undefined && { variant }) };
}

export function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('/');
}

export function choiceText(choice: PlatformChoice): string {
  return choice === 'all' ? 'all platforms' : choice.map(platformText).join(', ');
}

/** What the machine that runs Node would pull. Images are for Linux, whatever the host is. */
export function platformOf(nodeArchitecture: string): Platform {
  return { os: 'linux', architecture: GO_ARCHITECTURES[nodeArchitecture] ?? nodeArchitecture };
}

/** Whether `wanted` covers `offered`. Without a variant it covers all: which one is right is the client's to say. */
export function covers(wanted: Platform, offered: Platform): boolean {
  if (wanted.os !== offered.os || wanted.architecture !== offered.architecture) return false;
  return wanted.variant === undefined || wanted.variant === variantOf(offered);
}

/** Each platform of both once. */
export function joined(one: PlatformChoice, other: PlatformChoice): PlatformChoice {
  if (one === 'all' || other === 'all') return 'all';
  return [...new Map([...one, ...other].map((platform) => [platformText(platform), platform])).values()];
}

function variantOf({ architecture, variant }: Platform): string | undefined {
  return variant ?? IMPLIED_VARIANTS[architecture];
}
