import { connect } from 'node:http2';
import { ChannelCredentials } from '@grpc/grpc-js';
import { messageOf } from '../../src/base/coded-error.ts';
import {
  BuildManagerClient,
  type LogBatchReply,
  LogMessageRequest,
  LogMessageResponse,
  LogType,
} from '../../src/rpc/generated/buildman.ts';
import { usageNow } from '../manager/messages.ts';
import type { FromSender, SenderOptions } from './messages.ts';

/** Workers that do nothing but log: one stream each over a connection of its own, for a given time. */
const { address, tokens, mode, milliseconds } = JSON.parse(process.argv[2] ?? '') as SenderOptions;
const say = (message: FromSender): void => void process.send?.(message);
const linesInBatch = 1_000;
const batchesUnderWay = 2;

let lines = 0;
let ends = Number.POSITIVE_INFINITY;

function clientOf(): BuildManagerClient {
  return new BuildManagerClient(address, ChannelCredentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.max_send_message_length': 8 * 1024 * 1024,
  });
}

/**
 * As the reference worker: one message, its answer, the next message. Straight on HTTP/2, for that worker is no Node.js
 * program, and a client that costs as much as the server would halve what both can do on the same two cores.
 */
async function single(token: string): Promise<void> {
  const session = connect(`http://${address}`);
  const call = session.request({
    ':method': 'POST',
    ':path': '/buildman_pb.BuildManager/LogMessage',
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  let sequence = 0;
  const next = (): void => {
    sequence += 1;
    const message = LogMessageRequest.encode({
      jobJwt: token,
      sequenceNumber: sequence,
      logMessage: `{"stream":"line ${sequence} of a build that says what a build says\\n"}`,
      phase: 'building',
    }).finish();
    // A gRPC message: not compressed, its length, itself.
    const frame = Buffer.allocUnsafe(5 + message.length);
    frame[0] = 0;
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, 5);
    call.write(frame);
  };
  await new Promise<void>((resolve, reject) => {
    session.on('error', reject);
    call.on('error', reject);
    call.on('trailers', (trailers) => {
      if (trailers['grpc-status'] !== '0') reject(new Error(`refused: ${trailers['grpc-message']}`));
    });
    call.on('close', resolve);
    let held: Buffer = Buffer.alloc(0);
    call.on('data', (bytes: Buffer) => {
      held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
      while (held.length >= 5 && held.length >= 5 + held.readUInt32BE(1)) {
        const end = 5 + held.readUInt32BE(1);
        const { success, sequenceNumber } = LogMessageResponse.decode(held.subarray(5, end));
        held = held.subarray(end);
        if (!success || sequenceNumber !== sequence)
          reject(new Error(`answer ${sequenceNumber} to ${sequence}`));
        lines += 1;
        if (performance.now() < ends) next();
        else call.end();
      }
    });
    next();
  });
  session.close();
}

async function batches(token: string): Promise<void> {
  const client = clientOf();
  const call = client.logBatches();
  let sequence = 0;
  let underWay = 0;
  const next = (): void => {
    sequence += 1;
    underWay += 1;
    const text = Buffer.from(
      Array.from(
        { length: linesInBatch },
        (_, n) => `${sequence} ${n} of a build that says what a build says`,
      ).join('\n'),
    );
    const run = { text, count: linesInBatch, type: LogType.OUTPUT, time: Date.now(), partial: false };
    call.write({ jobJwt: sequence === 1 ? token : '', sequenceNumber: sequence, runs: [run] });
  };
  await new Promise<void>((resolve, reject) => {
    call.on('error', reject);
    call.on('end', resolve);
    call.on('data', ({ success }: LogBatchReply) => {
      if (!success) reject(new Error('a batch was refused'));
      lines += linesInBatch;
      underWay -= 1;
      if (performance.now() < ends) next();
      else if (underWay === 0) call.end();
    });
    for (let n = 0; n < batchesUnderWay; n += 1) next();
  });
  client.close();
}

try {
  const begun = performance.now();
  ends = begun + milliseconds;
  await Promise.all(tokens.map((token) => (mode === 'single' ? single(token) : batches(token))));
  say({ kind: 'sent', lines, seconds: (performance.now() - begun) / 1000, usage: usageNow() });
} catch (thrown) {
  say({ kind: 'failed', message: messageOf(thrown) });
}
process.on('message', () => process.disconnect());
