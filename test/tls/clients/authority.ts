import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface ClientPair {
  readonly cert: string;
  readonly key: string;
}

/** A CA of an operator's own, run by `openssl` as operators do. */
export class TestAuthority {
  readonly #folder: string;
  readonly #name: string;
  #issued = 0;

  private constructor(folder: string, name: string) {
    this.#folder = folder;
    this.#name = name;
  }

  static async create(folder: string, name = 'Test CA'): Promise<TestAuthority> {
    mkdirSync(folder, { recursive: true });
    const authority = new TestAuthority(folder, name);
    writeFileSync(join(folder, 'index.txt'), '');
    writeFileSync(join(folder, 'crlnumber'), '01\n');
    writeFileSync(
      join(folder, 'ca.cnf'),
      `[ca]
default_ca = it
[it]
database = ${join(folder, 'index.txt')}
crlnumber = ${join(folder, 'crlnumber')}
certificate = ${authority.caFile}
private_key = ${join(folder, 'ca.key')}
default_md = sha256
unique_subject = no
`,
    );
    await authority.#openssl('req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 300', {
      subj: `/CN=${name}`,
      keyout: join(folder, 'ca.key'),
      out: authority.caFile,
      addext: 'keyUsage=critical,keyCertSign,cRLSign',
    });
    return authority;
  }

  get caFile(): string {
    return join(this.#folder, 'ca.crt');
  }

  /** Replaced by each {@link writeRevocations}. */
  get crlFile(): string {
    return join(this.#folder, 'ca.crl');
  }

  ca(): Promise<string> {
    return readFile(this.caFile, 'utf8');
  }

  crl(): Promise<string> {
    return readFile(this.crlFile, 'utf8');
  }

  /** @param extensions lines such as `subjectAltName=email:ada@example.com` */
  async issue(
    subject: string,
    extensions: readonly string[] = ['extendedKeyUsage=clientAuth'],
    days = 10,
  ): Promise<ClientPair & { readonly certFile: string; readonly keyFile: string }> {
    const base = join(this.#folder, `client-${(this.#issued += 1)}`);
    const [certFile, keyFile, csr, ext] = [`${base}.crt`, `${base}.key`, `${base}.csr`, `${base}.ext`];
    writeFileSync(ext, `${extensions.join('\n')}\n`);
    await this.#openssl('req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -utf8', {
      subj: subject,
      keyout: keyFile,
      out: csr,
    });
    await this.#openssl(`x509 -req -days ${days}`, {
      in: csr,
      CA: this.caFile,
      CAkey: join(this.#folder, 'ca.key'),
      extfile: ext,
      out: certFile,
    });
    const [cert, key] = await Promise.all([readFile(certFile, 'utf8'), readFile(keyFile, 'utf8')]);
    return { cert, key, certFile, keyFile };
  }

  async revoke({ certFile }: { readonly certFile: string }): Promise<void> {
    await this.#openssl('ca', { config: join(this.#folder, 'ca.cnf'), revoke: certFile });
  }

  /** @param seconds until the list is out of date */
  async writeRevocations(seconds = 86_400): Promise<void> {
    await this.#openssl(`ca -gencrl -crlsec ${seconds}`, {
      config: join(this.#folder, 'ca.cnf'),
      out: this.crlFile,
    });
  }

  async #openssl(command: string, options: Readonly<Record<string, string>>): Promise<void> {
    const args = Object.entries(options).flatMap(([name, value]) => [`-${name}`, value]);
    try {
      await run('openssl', [...command.split(' '), ...args]);
    } catch (error) {
      throw new Error(`openssl ${command} for ${this.#name} failed`, { cause: error });
    }
  }
}
