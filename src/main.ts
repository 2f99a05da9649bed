#!/usr/bin/env node
import cluster from 'node:cluster';
import { setFlagsFromString } from 'node:v8';

// A worker process is started by the keeper with the same file. Each loads only its own half: a worker knows neither
// the upstream client nor the command line.
if (cluster.isWorker) {
  const { runWorkerProcess } = await import('./app-worker.ts');
  runWorkerProcess();
} else {
  // Before the code is loaded, which is what would make the young generation grow: what a keeper holds there are mostly
  // read buffers that nobody wants any more (206 to 226 MB at 40 MB/s with the default, 140 to 155 MB without growth).
  setFlagsFromString('--semi-space-growth-factor=1');
  const { runCommand } = await import('./cli/program.ts');
  await runCommand(process.argv);
}
