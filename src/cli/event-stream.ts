import { CliError } from './cli-error.ts';

/** One server-sent event. */
export interface ServerEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** Characters one event may have. The server sends pages far below this. */
const largest = 128 * 1024 * 1024;

/**
 * The events in a `text/event-stream` body. An event counts once its empty line has come: what a broken connection
 * cut off is dropped. Comments and unknown fields are skipped.
 */
export async function* readEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  let held = '';
  let open = emptyEvent();
  let size = 0;
  for await (const chunk of body) {
    const text = decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      const line = (held + text.slice(from, end)).replace(/\r$/, '');
      held = '';
      from = end + 1;
      if (line !== '') {
        takeField(open, line);
        size += line.length;
        continue;
      }
      if (open.data.length > 0) yield { event: open.event, id: open.id, data: open.data.join('\n') };
      open = emptyEvent();
      size = 0;
    }
    held += text.slice(from);
    if (size + held.length > largest)
      throw new CliError('server-failed', `The server sent an event of more than ${largest} characters`);
  }
}

interface OpenEvent {
  event: string;
  id: string | undefined;
  readonly data: string[];
}

function emptyEvent(): OpenEvent {
  return { event: 'message', id: undefined, data: [] };
}

function takeField(event: OpenEvent, line: string): void {
  const colon = line.indexOf(':');
  const name = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
  if (name === 'data') event.data.push(value);
  else if (name === 'event') event.event = value;
  else if (name === 'id') event.id = value;
}
