/** Waits for SIGINT and SIGTERM from now on, so that one that comes while a server still starts is not lost. */
export interface CaughtSignals {
  /** Resolves at the first one. */
  readonly first: Promise<NodeJS.Signals>;
}

/** A second signal ends the process at once: the first asked nicely. */
export function catchSignals(): CaughtSignals {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  let seen = false;
  const listen = (signal: NodeJS.Signals) => {
    if (seen) process.exit(130);
    seen = true;
    resolve(signal);
  };
  process.on('SIGINT', listen);
  process.on('SIGTERM', listen);
  return { first: promise };
}
