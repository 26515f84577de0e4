/* prefork [-q] [-b BYTES] [-w WORKERS] -l HOST:PORT
 *
 * A server of the old kind: one process listens, forked workers accept. Per connection a worker reads
 * BYTES, answers as many, closes, and prints who it was: {"pid":..,"peer":"..","bytes":..}. The listener's
 * pid is never that of a connection. SIGTERM ends all, and prints the CPU time of the workers. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_WORKERS = 64, MAX_BYTES = 65536, EX_USAGE = 64 };

static void die(const char *what) {
	fprintf(stderr, "prefork: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void usage(void) {
	fprintf(stderr, "usage: prefork [-q] [-b 1..%d] [-w 1..%d] -l HOST:PORT\n", MAX_BYTES, MAX_WORKERS);
	exit(EX_USAGE);
}

static long number(const char *text, long most) {
	char *end;
	errno = 0;
	long n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < 1 || most < n)
		usage();
	return n;
}

static struct sockaddr_in address(const char *text) {
	char host[INET_ADDRSTRLEN];
	const char *colon = strrchr(text, ':');
	struct sockaddr_in it = {.sin_family = AF_INET};
	if (!colon || sizeof host <= (size_t)(colon - text))
		usage();
	memcpy(host, text, colon - text);
	host[colon - text] = 0;
	if (inet_pton(AF_INET, host, &it.sin_addr) != 1)
		usage();
	it.sin_port = strcmp(colon + 1, "0") ? htons(number(colon + 1, 65535)) : 0;
	return it;
}

/* Reads and answers; returns how much came. */
static long talk(int conn, long bytes) {
	char buffer[MAX_BYTES];
	long got = 0;
	while (got < bytes) {
		ssize_t n = read(conn, buffer + got, bytes - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return got;
		got += n;
	}
	for (long sent = 0; sent < bytes;) {
		ssize_t n = send(conn, buffer + sent, bytes - sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		sent += n;
	}
	return got;
}

static void worker(int listener, long bytes, int quiet) {
	/* Without its parent a worker is of no use. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		die("prctl");
	for (;;) {
		struct sockaddr_in peer;
		socklen_t len = sizeof peer;
		int conn = accept(listener, (struct sockaddr *)&peer, &len);
		if (conn < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			die("accept");
		}
		long got = talk(conn, bytes);
		close(conn);
		if (quiet)
			continue;
		/* One write below PIPE_BUF: lines of workers do not mix. */
		char host[INET_ADDRSTRLEN], line[128];
		inet_ntop(AF_INET, &peer.sin_addr, host, sizeof host);
		int n = snprintf(line, sizeof line, "{\"pid\":%d,\"peer\":\"%s:%d\",\"bytes\":%ld}\n", getpid(), host,
				 ntohs(peer.sin_port), got);
		if (write(STDOUT_FILENO, line, n) != n)
			die("write");
	}
}

static void wait_for_end(const pid_t *workers, long n_workers, const sigset_t *signals) {
	int signal;
	if (sigwait(signals, &signal))
		die("sigwait");
	for (long i = 0; i < n_workers; i++)
		kill(workers[i], SIGKILL);
	for (long i = 0; i < n_workers; i++)
		waitpid(workers[i], NULL, 0);
	struct rusage used;
	getrusage(RUSAGE_CHILDREN, &used);
	printf("{\"user_seconds\":%ld.%06ld,\"system_seconds\":%ld.%06ld}\n", used.ru_utime.tv_sec,
	       used.ru_utime.tv_usec, used.ru_stime.tv_sec, used.ru_stime.tv_usec);
}

static int listen_on(struct sockaddr_in *at) {
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	socklen_t len = sizeof *at;
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one))
		die("socket");
	if (bind(listener, (struct sockaddr *)at, sizeof *at) || listen(listener, 4096) ||
	    getsockname(listener, (struct sockaddr *)at, &len))
		die("listen");
	return listener;
}

int main(int argc, char **argv) {
	struct sockaddr_in at = {0};
	long bytes = 100, n_workers = 4;
	int quiet = 0, option;
	while ((option = getopt(argc, argv, "qb:w:l:")) != -1) {
		switch (option) {
		case 'q': quiet = 1; break;
		case 'b': bytes = number(optarg, MAX_BYTES); break;
		case 'w': n_workers = number(optarg, MAX_WORKERS); break;
		case 'l': at = address(optarg); break;
		default: usage();
		}
	}
	if (at.sin_family != AF_INET || optind != argc)
		usage();
	int listener = listen_on(&at);

	sigset_t signals, before;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, &before);
	pid_t workers[MAX_WORKERS];
	for (long i = 0; i < n_workers; i++) {
		workers[i] = fork();
		if (workers[i] < 0)
			die("fork");
		if (workers[i] == 0) {
			sigprocmask(SIG_SETMASK, &before, NULL);
			worker(listener, bytes, quiet);
		}
	}
	char host[INET_ADDRSTRLEN];
	inet_ntop(AF_INET, &at.sin_addr, host, sizeof host);
	printf("ready\nlistening %s:%d\n", host, ntohs(at.sin_port));
	fflush(stdout);
	wait_for_end(workers, n_workers, &signals);
	return 0;
}
