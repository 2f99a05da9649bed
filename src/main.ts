#!/usr/bin/env node
import cluster from 'node:cluster';

// A worker process is started by the keeper with the same file. Each loads only its own half: a worker knows neither
// the upstream client nor the command line.
if (cluster.isWorker) {
  const { runWorkerProcess } = await import('./app-worker.ts');
  runWorkerProcess();
} else {
  const { runCommand } = await import('./cli/program.ts');
  await runCommand(process.argv);
}
