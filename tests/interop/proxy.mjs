// The real binary as a child process.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { until, within } from './within.mjs';

const LISTENERS = `
listeners: { default: { address: "127.0.0.1:0" } }
telemetry: { address: "127.0.0.1:0", logs: { format: json, level: trace } }
shutdown: { delay: 0s, drain: 2s }
`;

/** Starts `binary` with a configuration, on free ports, and waits until it is ready. */
export async function startProxy(binary, configuration, directory, name) {
  const file = join(directory, `${name}.yaml`);
  writeFileSync(file, LISTENERS + configuration);
  const child = spawn(binary, ['run', '--config', file], { env: {}, stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(child, 'exit');
  process.on('exit', () => child.kill('SIGKILL'));
  const lines = [];
  createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
  const address = (message) => {
    if (child.exitCode !== null) throw new Error(`the proxy did not start:\n${lines.join('\n')}`);
    const line = lines.find((text) => text.includes(`"msg":"${message}"`));
    return line && `http://${JSON.parse(line).address}`;
  };
  const url = await until('the proxy listens', () => address('listening'));
  const telemetry = await until('its telemetry listens', () => address('probes and metrics'));
  await until('the proxy is ready', async () => (await fetch(`${telemetry}/readyz`, within())).ok);
  return {
    url,
    /** Everything it logged so far. */
    log: () => lines.join('\n'),
    metrics: async () => (await fetch(`${telemetry}/metrics`, within())).text(),
    /** Stops it: its exit code. */
    async stop() {
      child.kill('SIGTERM');
      const [code] = await ended;
      return code;
    },
  };
}
