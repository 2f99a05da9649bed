import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tempFolder, type Teardown } from './temp.ts';

/**
 * A real program that gives credentials, in a folder of its own: `docker-credential-test`, to be found on the `PATH`.
 * It notes what it is asked, by which arguments and in which environment, and then does what it is told to.
 */
export class CredentialProgram {
  readonly folder: string;
  readonly name: string;

  private constructor(folder: string, name: string) {
    this.folder = folder;
    this.name = name;
  }

  /** @param script what it does after the notes, in the words of a shell; its own folder is `$here`. */
  static async create(
    t: Teardown,
    script: string,
    name = 'docker-credential-test',
  ): Promise<CredentialProgram> {
    const program = new CredentialProgram(tempFolder(t, 'credentials'), name);
    await program.does(script);
    return program;
  }

  get file(): string {
    return join(this.folder, this.name);
  }

  /** The environment to find it in. */
  get env(): { readonly PATH: string } {
    return { PATH: `${this.folder}:/usr/bin:/bin` };
  }

  /** From its next run on. */
  async does(script: string): Promise<void> {
    const notes = 'echo "$0 $*" >> "$here/runs"; env > "$here/env"; echo $$ > "$here/pid"';
    const text = `#!/bin/sh\nhere='${this.folder}'\n${notes}\n${script}\n`;
    // A file that is open for writing cannot be run.
    await writeFile(`${this.file}.new`, text, { mode: 0o700 });
    await rename(`${this.file}.new`, this.file);
  }

  /** From its next run on: reads what it is asked for, and gives this. */
  async gives(answer: object | string): Promise<void> {
    const text = typeof answer === 'string' ? answer : JSON.stringify(answer);
    await writeFile(join(this.folder, 'answer.new'), text);
    await rename(join(this.folder, 'answer.new'), join(this.folder, 'answer'));
    await this.does(GIVES);
  }

  /** `file arguments` of each run so far. */
  async runs(): Promise<string[]> {
    return (await this.note('runs')).split('\n').slice(0, -1);
  }

  /** What it wrote down in its folder; empty when it has not. */
  async note(name: 'runs' | 'env' | 'pid' | 'asked' | 'child'): Promise<string> {
    const file = join(this.folder, name);
    return existsSync(file) ? await readFile(file, 'utf8') : '';
  }
}

const GIVES = 'cat > "$here/asked"; cat "$here/answer"';

/** Hangs, with a child in its process group that hangs as well. */
export const HANGS = 'sleep 1000 & echo $! > "$here/child"; wait';
