/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the service manager: the datagram of sd_notify(3).
 *
 * The protocol is declared stable and is one datagram; libsystemd is not needed for it.
 */
#ifndef CLI_NOTIFY_H
#define CLI_NOTIFY_H

/* state such as "READY=1". Nothing happens, and nobody is told, without NOTIFY_SOCKET. */
void notify_service_manager(const char *state);

#endif
