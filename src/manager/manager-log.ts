/** What the manager tells the operator; pino's loggers fit. */
export interface ManagerLog {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}
