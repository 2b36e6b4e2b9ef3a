/*
 * The first process of a process namespace: of the whole cluster's, and of each pod's (as the pause image).
 * It reaps whoever is orphaned, and ends when it is asked to; the kernel then ends everybody else there.
 */
#include <signal.h>
#include <sys/wait.h>

int main(void) {
  sigset_t awaited;
  int signal = 0;
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGCHLD);
  sigaddset(&awaited, SIGINT);
  sigaddset(&awaited, SIGTERM);
  sigprocmask(SIG_BLOCK, &awaited, 0);
  do {
    while (waitpid(-1, 0, WNOHANG) > 0) {
    }
    sigwait(&awaited, &signal);
  } while (signal == SIGCHLD);
  return 0;
}
