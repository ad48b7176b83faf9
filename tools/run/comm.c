/* Dynamic distribution of cases over MPI ranks; see comm.h.
 *
 * A rank that wants a case sends an empty message to rank 0 and waits for an index. Rank 0 works as
 * well, so that it answers between windows of its own scan; a rank asks while it still computes
 * (many.c reads ahead), which hides the wait. Results meet in the file system, never in messages:
 * when a rank dies, mpirun ends the others, and every finished scan is on disk. */
#include "comm.h"

#include <stdint.h>
#include <stdlib.h>

#ifdef VNET_MPI
#include <mpi.h>

#include "cli.h"

enum { TAG_ASK = 1, TAG_CASE, TAG_FINISH };

static struct {
  int rank, ranks, finished; /* finished: ranks that wait in comm_finish */
  size_t next, count;
} comm = {.ranks = 1};

void comm_open(int *argc, char ***argv) {
  if (!getenv("OMPI_COMM_WORLD_SIZE") && !getenv("PMIX_RANK") && !getenv("PMI_RANK")) return;
  int level;
  MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level);
  if (level < MPI_THREAD_FUNNELED) cli_fatal(VN_E_UNSUPPORTED, "this MPI takes no threads");
  MPI_Comm_rank(MPI_COMM_WORLD, &comm.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &comm.ranks);
}

bool comm_in_use(void) {
  int open = 0;
  MPI_Initialized(&open);
  return open;
}

void comm_close(void) {
  if (comm_in_use()) MPI_Finalize();
}

size_t comm_rank(void) {
  return (size_t)comm.rank;
}

size_t comm_ranks(void) {
  return (size_t)comm.ranks;
}

static size_t hand_out(void) {
  return comm.next < comm.count ? comm.next++ : SIZE_MAX;
}

static void answer(const MPI_Status *status) {
  uint64_t index = hand_out();
  MPI_Recv(NULL, 0, MPI_BYTE, status->MPI_SOURCE, TAG_ASK, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  MPI_Send(&index, 1, MPI_UINT64_T, status->MPI_SOURCE, TAG_CASE, MPI_COMM_WORLD);
}

void comm_serve(void) {
  int waiting = comm.ranks > 1 && comm.rank == 0;
  while (waiting) {
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, TAG_ASK, MPI_COMM_WORLD, &waiting, &status);
    if (waiting) answer(&status);
  }
}

size_t comm_next(size_t count) {
  comm.count = count;
  if (comm.rank == 0) {
    comm_serve();
    return hand_out();
  }
  uint64_t index;
  MPI_Sendrecv(NULL, 0, MPI_BYTE, 0, TAG_ASK, &index, 1, MPI_UINT64_T, 0, TAG_CASE, MPI_COMM_WORLD,
               MPI_STATUS_IGNORE);
  return index == UINT64_MAX ? SIZE_MAX : (size_t)index;
}

size_t comm_finish(size_t value) {
  if (comm.ranks == 1) return value;
  uint64_t mine = value, sum = 0;
  if (comm.rank > 0) {
    MPI_Send(NULL, 0, MPI_BYTE, 0, TAG_FINISH, MPI_COMM_WORLD);
  } else {
    while (comm.finished < comm.ranks - 1) {
      MPI_Status status;
      MPI_Probe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
      if (status.MPI_TAG == TAG_ASK) {
        answer(&status);
      } else {
        MPI_Recv(NULL, 0, MPI_BYTE, status.MPI_SOURCE, TAG_FINISH, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
        comm.finished++;
      }
    }
  }
  MPI_Allreduce(&mine, &sum, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
  return (size_t)sum;
}

#else

static size_t next;

void comm_open(int *argc, char ***argv) {
  (void)argc;
  (void)argv;
}

void comm_close(void) {}

bool comm_in_use(void) {
  return false;
}

size_t comm_rank(void) {
  return 0;
}

size_t comm_ranks(void) {
  return 1;
}

void comm_serve(void) {}

size_t comm_next(size_t count) {
  return next < count ? next++ : SIZE_MAX;
}

size_t comm_finish(size_t value) {
  return value;
}

#endif
