import { createHash, randomUUID } from 'node:crypto';
import { accountRefusal, type BuilderAccounts } from './builder-accounts.ts';
import type { HostConnections } from './connections.ts';
import type { GitHost, HookDelivery, HookEvent, OwnRepository } from './git-host.ts';
import { sameSecret } from './host/proof.ts';
import { bodyKey, type NewDelivery } from './new-delivery.ts';
import type { SqlDeliveryStore } from './sql-delivery-store.ts';
import type { SqlTriggerStore, TriggerWithSecrets } from './sql-trigger-store.ts';
import { storedEvent } from './stored-event.ts';
import { type DeliveryId, parseTriggerId, type Trigger } from './trigger.ts';
import { TriggerError } from './trigger-error.ts';
import type { TriggerMetrics } from './trigger-events.ts';
import type { DeliveryOutcome } from './triggers.ts';

export interface IntakeOptions {
  readonly store: SqlTriggerStore;
  readonly deliveries: SqlDeliveryStore;
  readonly connections: HostConnections;
  readonly accounts: BuilderAccounts;
  readonly metrics: TriggerMetrics;
  /** Builds of one namespace that may wait; undefined: any number. */
  readonly maxQueuedPerNamespace: number | undefined;
  /** Whether builds are taken at all. */
  readonly readOnly: boolean;
  /** Told that a delivery waits. */
  readonly onWaiting: () => void;
}

/** Bytes of a payload; the endpoint refuses more before it is read. */
export const largestPayload = 25 * 1024 * 1024;

/** See `NewDelivery.mayRecur`. */
const recurs = {
  github: false,
  gitlab: 'elsewhere',
  bitbucket: 'elsewhere',
  'custom-git': 'or-a-day',
} as const;

/** The longest name of a delivery that is kept. */
const longestName = 200;

/**
 * Takes deliveries in. Whoever sends one proves first that they may: until then nothing is read of it, and nothing is
 * kept. What is refused after that is kept with the reason, so that the trigger's list shows it.
 */
export class Intake {
  readonly #options: IntakeOptions;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  async deliver(
    text: string,
    delivery: HookDelivery,
    writeToken: string | undefined,
    traceParent: string | undefined,
  ): Promise<{ readonly delivery?: DeliveryId; readonly note: string }> {
    const { store, connections } = this.#options;
    const id = parseTriggerId(text);
    const found = id === undefined ? undefined : await store.findWithSecrets(id);
    if (found === undefined)
      throw new TriggerError(
        'unknown',
        'There is no such build trigger. It may have been deleted; remove the webhook.',
      );
    const { trigger } = found;
    const host = connections.host(trigger.service);
    const by = this.#requireProof(host, delivery, found, writeToken);
    if (!trigger.active)
      throw new TriggerError(
        'not-active',
        'The build trigger has not been activated yet. Finish its set-up first.',
      );
    return await this.#take(host, delivery, trigger, { traceParent, signed: by === 'signature' });
  }

  #requireProof(
    host: GitHost,
    delivery: HookDelivery,
    { trigger, secrets }: TriggerWithSecrets,
    writeToken: string | undefined,
  ): 'signature' | 'token' {
    const token = secrets.write_token;
    const secret = secrets.webhook_secret ?? (trigger.service === 'custom-git' ? token : undefined);
    const proof = secret === undefined ? 'missing' : host.prove(delivery, secret);
    const signed = secrets.webhook_secret !== undefined;
    if (proof === 'proved') return 'signature';
    if (
      proof === 'missing' &&
      !signed &&
      token !== undefined &&
      writeToken !== undefined &&
      sameSecret(writeToken, token)
    )
      return 'token';
    this.#options.metrics.delivered('forbidden');
    throw new TriggerError(
      'forbidden',
      signed
        ? `The delivery is not signed with the secret of this trigger${proof === 'wrong' ? '' : ' (SHA-1 alone does not count)'}. Check the secret of the webhook at ${host.title}.`
        : 'The write token of this trigger is missing or wrong. Use the webhook URL that slipway trigger show --credentials prints.',
    );
  }

  async #take(
    host: GitHost,
    delivery: HookDelivery,
    trigger: Trigger,
    { traceParent, signed }: { readonly traceParent: string | undefined; readonly signed: boolean },
  ): Promise<{ readonly delivery?: DeliveryId; readonly note: string }> {
    const { deliveries, metrics } = this.#options;
    const hash = createHash('sha256').update(delivery.body).digest('hex');
    const name = host
      .deliveryName(delivery)
      ?.slice(0, longestName)
      .replace(/[^\x21-\x7e]/g, '?');
    // Whoever saw a signed body could send it again, under any name: the signature is of the body alone.
    const mayRecur = trigger.service === 'custom-git' && signed ? false : recurs[trigger.service];
    const common = {
      triggerId: trigger.id,
      by: 'hook',
      key: `${bodyKey}${hash}`,
      mayRecur,
      ...eventNameOf(delivery),
      ...(traceParent === undefined ? {} : { traceParent }),
    } as const;
    let event: HookEvent;
    try {
      event = await this.#read(host, delivery, trigger);
    } catch (thrown) {
      if (thrown instanceof TriggerError && thrown.code !== 'read-only') {
        const readable = thrown.code === 'disabled' || thrown.code === 'queue-full';
        await this.#keepRefusal(
          { ...common, ...(readable ? this.#buildable(host, delivery, trigger) : {}) },
          thrown,
        );
      }
      throw thrown;
    }
    const stored = await deliveries.store({
      ...common,
      ...(mayRecur === false ? { onceDigest: hash } : {}),
      ...(name === undefined || name === '' ? {} : { name }),
      ...whatOf(event),
    });
    if (stored === undefined)
      throw new TriggerError('unknown', 'The build trigger was deleted a moment ago.');
    metrics.delivered(stored.repeated ? 'repeated' : event.kind === 'skip' ? 'skipped' : 'waiting');
    if (!stored.repeated && event.kind !== 'skip') this.#options.onWaiting();
    return {
      ...(stored.id === undefined ? {} : { delivery: stored.id }),
      note: event.kind === 'skip' ? event.reason : 'Okay',
    };
  }

  /** In the order of what can be known: the first thing that is wrong is the answer. */
  async #read(host: GitHost, delivery: HookDelivery, trigger: Trigger): Promise<HookEvent> {
    if (!trigger.enabled)
      throw new TriggerError(
        'disabled',
        'The build trigger is switched off. Switch it on again: slipway trigger enable.',
      );
    const refusal = await accountRefusal(trigger, this.#options.accounts);
    if (refusal !== undefined) throw new TriggerError('disabled', refusal);
    const event = this.#eventOf(host, delivery, trigger);
    // What asks for no build needs no room.
    if (event.kind !== 'skip') await this.#requireRoom(trigger);
    if (this.#options.readOnly)
      throw new TriggerError(
        'read-only',
        'The server is in read-only mode and takes no builds. Send it again later.',
      );
    return event;
  }

  #eventOf(host: GitHost, delivery: HookDelivery, trigger: Trigger): HookEvent {
    const type = (delivery.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase();
    if (type !== 'application/json')
      throw new TriggerError(
        'wrong-type',
        'The payload must be JSON, with the header Content-Type: application/json. Set the content type of the webhook.',
      );
    if (delivery.body.byteLength > largestPayload)
      throw new TriggerError('too-large', `The payload is larger than ${largestPayload} bytes.`);
    return host.read(delivery, ownRepository(trigger));
  }

  /** What a person may send again, of a delivery that is refused for reasons that pass. */
  #buildable(
    host: GitHost,
    delivery: HookDelivery,
    trigger: Trigger,
  ): Pick<NewDelivery, 'event' | 'ref' | 'commit'> {
    try {
      const event = this.#eventOf(host, delivery, trigger);
      return event.kind === 'skip' ? {} : whatOf(event);
    } catch (thrown) {
      if (thrown instanceof TriggerError) return {};
      throw thrown;
    }
  }

  async #requireRoom({ repository: { namespace } }: Trigger): Promise<void> {
    const { maxQueuedPerNamespace: most, deliveries } = this.#options;
    if (most === undefined || (await deliveries.unstarted(namespace, most)) < most) return;
    throw new TriggerError(
      'queue-full',
      `The namespace ${namespace} has ${most} builds waiting, and may not have more. Send it again when some have started.`,
    );
  }

  /** Under a key and without a name of its own: the same delivery is welcome later. */
  async #keepRefusal(common: Omit<NewDelivery, 'outcome'>, { message }: TriggerError): Promise<void> {
    const { deliveries, metrics } = this.#options;
    metrics.delivered('refused');
    const key = `refused ${randomUUID()}`;
    await deliveries.store({
      ...common,
      key,
      mayRecur: false,
      outcome: { kind: 'refused', reason: message },
    });
  }
}

function ownRepository({ service, config }: Trigger): OwnRepository {
  const gitUrl = service === 'custom-git' ? config?.build_source : config?.git_url;
  if (config === undefined || gitUrl === undefined)
    throw new TriggerError(
      'malformed',
      'It is not known where the repository of the trigger is cloned from. Make the trigger anew.',
    );
  return { name: service === 'custom-git' ? undefined : config.build_source, gitUrl };
}

function whatOf(event: HookEvent): Pick<NewDelivery, 'event' | 'ref' | 'commit' | 'outcome'> {
  if (event.kind === 'skip') return { ...event.at, outcome: { kind: 'skipped', reason: event.reason } };
  const { commit, ref } = event.metadata;
  return {
    event: storedEvent(event),
    commit,
    ...(ref === undefined ? {} : { ref }),
    outcome: { kind: 'waiting' } satisfies DeliveryOutcome,
  };
}

function eventNameOf({ headers }: HookDelivery): { readonly eventName?: string } {
  const name = headers['x-github-event'] ?? headers['x-gitlab-event'] ?? headers['x-event-key'];
  return name === undefined ? {} : { eventName: name.slice(0, 100).replace(/[^\x20-\x7e]/g, '?') };
}
