import { type Logger, pino } from 'pino';

/** Bytes of messages that wait for room on the disk; what comes beyond is dropped. */
const mostHeld = 4 * 1024 * 1024;

/**
 * The server's own log: a file of JSON lines that its owner alone can read. A disk that is full is no reason to end a
 * server: what could not be written is held, within bounds, and written once there is room.
 */
export function openServerLog(file: string): Logger {
  const destination = pino.destination({
    dest: file,
    mkdir: true,
    sync: true,
    mode: 0o600,
    maxLength: mostHeld,
  });
  destination.on('error', () => {});
  return pino({ level: 'info', base: null }, destination);
}
