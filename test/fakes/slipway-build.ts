import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { BuildView } from '../../src/api/build-view.ts';
import { isFinal, type Phase } from '../../src/model/phase.ts';

export interface FakeLogEntry {
  readonly message: string;
  readonly type?: string;
  readonly data?: Record<string, unknown>;
}

/** One build of the fake API: its view, its log, and whoever follows it by server-sent events. */
export class FakeBuild {
  readonly log: FakeLogEntry[] = [];
  view: BuildView;
  /** The body it was asked for with. */
  readonly asked: Readonly<Record<string, unknown>>;
  readonly #followers = new Set<() => void>();

  constructor(repository: BuildView['repository'], asked: Record<string, unknown>, user: string) {
    this.asked = asked;
    this.view = newView(repository, (asked.docker_tags as string[] | undefined) ?? ['latest'], user);
  }

  get id(): string {
    return this.view.id;
  }

  append(...entries: FakeLogEntry[]): void {
    this.log.push(...entries);
    this.#tell();
  }

  /** Changes the view; into another phase with its heading in the log, as the manager does. */
  change(fields: Partial<BuildView>): void {
    const entered = fields.phase !== undefined && fields.phase !== this.view.phase ? fields.phase : undefined;
    this.view = { ...this.view, ...fields };
    if (entered === undefined) this.#tell();
    else this.append({ type: 'phase', message: entered });
  }

  /** Sends events from entry `start` on until the end or until the connection closes; `page` entries an event. */
  follow(response: ServerResponse, start: number, page: number): void {
    let sent = start;
    let shown = '';
    const send = () => {
      while (sent < this.log.length) {
        const logs = this.log.slice(sent, sent + page);
        const data = JSON.stringify({ start: sent, logs });
        sent += logs.length;
        response.write(`id: ${sent}\nevent: log\ndata: ${data}\n\n`);
      }
      const view = JSON.stringify(this.view);
      if (isFinal(this.view.phase as Phase)) {
        this.#followers.delete(send);
        response.end(`event: end\ndata: ${view}\n\n`);
      } else if (view !== shown) response.write(`event: phase\ndata: ${view}\n\n`);
      shown = view;
    };
    response.write('retry: 1000\n\n: waiting\n\n');
    this.#followers.add(send);
    response.once('close', () => this.#followers.delete(send));
    send();
  }

  get followers(): number {
    return this.#followers.size;
  }

  #tell(): void {
    for (const follower of [...this.#followers]) follower();
  }
}

function newView(repository: BuildView['repository'], tags: string[], user: string): BuildView {
  return {
    id: randomUUID(),
    phase: 'waiting',
    started: 'Tue, 14 Nov 2023 22:13:20 -0000',
    display_name: '0123abc',
    status: { state: 'queued', attempt: 1 },
    subdirectory: '/Dockerfile',
    dockerfile_path: '/Dockerfile',
    context: '/',
    tags,
    manual_user: user,
    is_writer: true,
    trigger: null,
    trigger_metadata: null,
    resource_key: null,
    pull_robot: null,
    repository,
    error: null,
    error_code: null,
    platforms: [],
    target: null,
    push: true,
    priority: 0,
    digest: null,
    image_references: [],
    image_size: null,
    commit: null,
    cancelled_by: null,
    cancelling: false,
    queue_position: null,
    queue: null,
    superseded_by: null,
    timings: { queued: '2023-11-14T22:13:20.000Z', started: null, finished: null, seconds: null },
    attempts: [],
  };
}
