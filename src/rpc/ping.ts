import type { handleUnaryCall } from '@grpc/grpc-js';
import type { PingReply, PingRequest } from './generated/buildman.ts';

export const ping: handleUnaryCall<PingRequest, PingReply> = (_call, callback) => {
  callback(null, { reply: 'pong' });
};
