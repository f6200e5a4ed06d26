/** Waits for SIGINT or SIGTERM. A second one ends the process at once: the first asked nicely. */
export async function untilSignal(onFirst?: (signal: NodeJS.Signals) => void): Promise<NodeJS.Signals> {
  return await new Promise((resolve) => {
    let seen = false;
    const listen = (signal: NodeJS.Signals) => {
      if (seen) process.exit(130);
      seen = true;
      onFirst?.(signal);
      resolve(signal);
    };
    process.on('SIGINT', listen);
    process.on('SIGTERM', listen);
  });
}
