/* Ranks of a training over MPI; see comm.h.
 *
 * Gradients lie in one array, in the order of the layers, and become ready from its end. It is cut
 * into buckets; as soon as one is ready, every rank sends each other rank the slice that this one
 * is to sum, sums its own, and sends the result to all: (N - 1) / N of the bucket over each wire in
 * double and again in float, as a ring, but with every sum in the order of the ranks. Messages go
 * from rank to rank, not through collectives, so that a wait knows for whom. */
#include "comm.h"

#include <stdlib.h>

#ifdef VNET_MPI
#include <math.h>
#include <mpi.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "os.h"

enum { TAG_SUM = 1, TAG_WORK, TAG_BUCKET, BUCKET = 1 << 18 };

static struct {
  int rank, ranks;
  double patience_s;
} comm = {.ranks = 1, .patience_s = 300};

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void on_alarm(int number) {
  static const char text[] =
      "vnet-train: MPI does not start or end: a rank is stuck or gone, see --timeout\n";
  (void)number;
  if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(VN_E_INTERNAL);
  _exit(VN_E_IO);
}

/* MPI's own first and last call wait for every rank, for ever if need be. */
static void watch(bool on) {
  signal(SIGALRM, on ? on_alarm : SIG_IGN);
  alarm(on ? (unsigned)ceil(comm.patience_s) : 0);
}

void vnt_comm_open(double patience_s) {
  comm.patience_s = patience_s;
  if (!getenv("OMPI_COMM_WORLD_SIZE") && !getenv("PMIX_RANK") && !getenv("PMI_RANK")) return;
  int level;
  watch(true);
  MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level);
  watch(false);
  if (level < MPI_THREAD_FUNNELED) cli_fatal(VN_E_UNSUPPORTED, "this MPI takes no threads");
  MPI_Comm_rank(MPI_COMM_WORLD, &comm.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &comm.ranks);
}

void vnt_comm_close(void) {
  int open = 0;
  MPI_Initialized(&open);
  if (!open) return;
  watch(true);
  MPI_Finalize();
  watch(false);
}

size_t vnt_comm_rank(void) {
  return (size_t)comm.rank;
}

size_t vnt_comm_ranks(void) {
  return (size_t)comm.ranks;
}

size_t vnt_comm_neighbours(void) {
  MPI_Comm node;
  int here = 1;
  if (comm.ranks == 1) return 1;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_size(node, &here);
  MPI_Comm_free(&node);
  return (size_t)here;
}

size_t vnt_comm_threads(void) {
  if (comm.ranks == 1) return 0;
  const long here = (long)vnt_comm_neighbours();
  const long cores = sysconf(_SC_NPROCESSORS_ONLN), share = cores > here ? cores / here : 1;
  cpu_set_t allowed; /* mpirun may have bound this rank to fewer */
  if (sched_getaffinity(0, sizeof allowed, &allowed)) return (size_t)share;
  return (size_t)(CPU_COUNT(&allowed) < share ? CPU_COUNT(&allowed) : share);
}

/* ---- waiting ---- */

/* requests[n] belong to ranks peer[n]; ends the program with the names of those that are open. */
static _Noreturn void missing(MPI_Request *requests, const int *peer, size_t n) {
  char names[256] = "";
  size_t length = 0, count = 0;
  for (int rank = 0; rank < comm.ranks; rank++) {
    bool open = false;
    for (size_t i = 0; i < n; i++) {
      int done = 1;
      if (peer[i] == rank) MPI_Test(&requests[i], &done, MPI_STATUS_IGNORE);
      open = open || !done;
    }
    if (!open || length > sizeof names - 16) continue;
    length +=
        (size_t)snprintf(names + length, sizeof names - length, "%s%d", count ? ", " : "", rank);
    count++;
  }
  cli_fatal(VN_E_IO,
            "no word from rank %s for %g s: it is stuck or gone; the last checkpoint is whole, "
            "go on with --resume",
            names, comm.patience_s);
}

/* A wait's own time: a pause between two looks counts for a tenth of a second at most, so that a
 * machine that slept, or ranks that were all stopped and continued, accuse nobody. */
struct wait {
  double last, passed;
};

static struct wait wait_begin(void) {
  return (struct wait){.last = seconds()};
}

/* False when it has been too long. Others need the core, perhaps the very rank that is waited
 * for. */
static bool wait_on(struct wait *wait) {
  const double now = seconds();
  wait->passed += fmin(now - wait->last, 0.1);
  wait->last = now;
  if (wait->passed > comm.patience_s) return false;
  if (wait->passed < 0.002)
    sched_yield();
  else
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
  return true;
}

static void wait_all(MPI_Request *requests, const int *peer, size_t n) {
  struct wait wait = wait_begin();
  for (int done = 0;;) {
    MPI_Testall((int)n, requests, &done, MPI_STATUSES_IGNORE);
    if (done) return;
    if (!wait_on(&wait)) missing(requests, peer, n);
  }
}

/* ---- small sums ---- */

void vnt_comm_sum(void *context, double *values, size_t count) {
  (void)context;
  if (comm.ranks == 1) return;
  const size_t ranks = (size_t)comm.ranks;
  double *all = malloc(ranks * count * sizeof *all);
  MPI_Request *requests = malloc(2 * ranks * sizeof *requests);
  int *peer = malloc(2 * ranks * sizeof *peer);
  if (!all || !requests || !peer) cli_fatal(VN_E_MEMORY, "out of memory");
  size_t n = 0;
  for (int rank = 0; rank < comm.ranks; rank++) {
    double *from = all + (size_t)rank * count;
    if (rank == comm.rank) {
      memcpy(from, values, count * sizeof *values);
      continue;
    }
    peer[n] = peer[n + 1] = rank;
    MPI_Irecv(from, (int)count, MPI_DOUBLE, rank, TAG_SUM, MPI_COMM_WORLD, &requests[n++]);
    MPI_Isend(values, (int)count, MPI_DOUBLE, rank, TAG_SUM, MPI_COMM_WORLD, &requests[n++]);
  }
  wait_all(requests, peer, n);
  memset(values, 0, count * sizeof *values);
  for (size_t rank = 0; rank < ranks; rank++)
    for (size_t i = 0; i < count; i++) values[i] += all[rank * count + i];
  free(all);
  free(requests);
  free(peer);
}

/* ---- work of rank 0's ---- */

struct errand {
  void (*work)(void *context);
  void *context;
  atomic_bool over;
};

static void *errand_run(void *context) {
  struct errand *e = context;
  e->work(e->context);
  atomic_store(&e->over, true);
  return NULL;
}

static void tell(int over) {
  for (int rank = 1; rank < comm.ranks; rank++)
    MPI_Send(&over, 1, MPI_INT, rank, TAG_WORK, MPI_COMM_WORLD);
}

/* The work has a thread of its own, while this one tells the others that rank 0 lives. */
static void errand_lead(struct errand *e) {
  pthread_t thread;
  if (vn_os_thread_start(&thread, 0, errand_run, e))
    cli_fatal(VN_E_MEMORY, "cannot start a thread");
  double told = seconds();
  while (!atomic_load(&e->over)) {
    nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    if (seconds() - told < 0.3) continue;
    tell(0);
    told = seconds();
  }
  pthread_join(thread, NULL);
  tell(1);
}

void vnt_comm_root(void (*work)(void *context), void *context) {
  if (comm.ranks == 1) {
    work(context);
    return;
  }
  if (comm.rank == 0) {
    struct errand e = {.work = work, .context = context};
    errand_lead(&e);
    return;
  }
  static const int root;
  for (int over = 0; !over;) {
    MPI_Request request;
    MPI_Irecv(&over, 1, MPI_INT, 0, TAG_WORK, MPI_COMM_WORLD, &request);
    wait_all(&request, &root, 1);
  }
}

/* ---- gradients ---- */

enum stage { WAITING, GATHERING, SPREADING, OVER };

struct bucket {
  size_t begin, end; /* elements */
  enum stage stage;
  MPI_Request *requests; /* [2 (ranks - 1)] */
  double *others;        /* [ranks][slice]: the other ranks' parts of this rank's slice */
};

struct vnt_reduce {
  const struct vnt_net *net;
  bool *ready;            /* [params] */
  size_t frontier;        /* params from here on are ready */
  struct bucket *buckets; /* from the array's end to its beginning */
  size_t n_buckets;
  int *peer; /* [2 (ranks - 1)]: whom a bucket's requests are with */
};

static void slice_of(const struct bucket *b, int rank, size_t *begin, size_t *elems) {
  const size_t all = b->end - b->begin, ranks = (size_t)comm.ranks, r = (size_t)rank;
  *begin = b->begin + all * r / ranks;
  *elems = b->begin + all * (r + 1) / ranks - *begin;
}

static void bucket_send(struct vnt_reduce *r, struct bucket *b) {
  const int tag = TAG_BUCKET + 2 * (int)(b - r->buckets) + (b->stage == SPREADING);
  size_t mine, own, n = 0;
  slice_of(b, comm.rank, &mine, &own);
  for (int rank = 0; rank < comm.ranks; rank++) {
    if (rank == comm.rank) continue;
    size_t begin, elems;
    slice_of(b, rank, &begin, &elems);
    if (b->stage == GATHERING) {
      MPI_Irecv(b->others + (size_t)rank * own, (int)own, MPI_DOUBLE, rank, tag, MPI_COMM_WORLD,
                &b->requests[n++]);
      MPI_Isend(r->net->grad_sum + begin, (int)elems, MPI_DOUBLE, rank, tag, MPI_COMM_WORLD,
                &b->requests[n++]);
    } else {
      MPI_Irecv(r->net->grad + begin, (int)elems, MPI_FLOAT, rank, tag, MPI_COMM_WORLD,
                &b->requests[n++]);
      MPI_Isend(r->net->grad + mine, (int)own, MPI_FLOAT, rank, tag, MPI_COMM_WORLD,
                &b->requests[n++]);
    }
  }
}

/* This rank's slice of the gradient becomes the sum, in the order of the ranks. */
static void bucket_sum(struct vnt_reduce *r, struct bucket *b) {
  size_t begin, elems;
  slice_of(b, comm.rank, &begin, &elems);
  const double *mine = r->net->grad_sum + begin;
  for (size_t i = 0; i < elems; i++) {
    double sum = 0;
    for (int rank = 0; rank < comm.ranks; rank++)
      sum += rank == comm.rank ? mine[i] : b->others[(size_t)rank * elems + i];
    r->net->grad[begin + i] = (float)sum;
  }
}

/* Moves every bucket on that can be; true if one was. */
static bool progress(struct vnt_reduce *r) {
  bool moved = false;
  const size_t low = r->frontier < r->net->n_params ? r->net->params[r->frontier].offset : SIZE_MAX;
  for (size_t i = 0; i < r->n_buckets; i++) {
    struct bucket *b = &r->buckets[i];
    int done = 1;
    if (b->stage == OVER || (b->stage == WAITING && b->begin < low)) continue;
    if (b->stage != WAITING)
      MPI_Testall(2 * (comm.ranks - 1), b->requests, &done, MPI_STATUSES_IGNORE);
    if (!done) continue;
    if (b->stage == GATHERING) bucket_sum(r, b);
    b->stage++;
    if (b->stage != OVER) bucket_send(r, b);
    moved = true;
  }
  return moved;
}

void vnt_reduce_done(void *context, size_t param) {
  struct vnt_reduce *r = context;
  if (comm.ranks == 1) return;
  r->ready[param] = true;
  while (r->frontier && r->ready[r->frontier - 1]) r->frontier--;
  progress(r);
}

void vnt_reduce_finish(struct vnt_reduce *r) {
  if (comm.ranks == 1) return;
  r->frontier = 0;
  struct wait wait = wait_begin();
  for (size_t i = 0; i < r->n_buckets;) {
    if (r->buckets[i].stage == OVER) {
      i++;
      continue;
    }
    if (progress(r)) {
      wait = wait_begin();
      continue;
    }
    if (!wait_on(&wait)) missing(r->buckets[i].requests, r->peer, 2 * (size_t)(comm.ranks - 1));
  }
  for (size_t i = 0; i < r->n_buckets; i++) r->buckets[i].stage = WAITING;
  memset(r->ready, 0, r->net->n_params * sizeof *r->ready);
  r->frontier = r->net->n_params;
}

enum vn_status vnt_reduce_open(const struct vnt_net *net, struct vnt_reduce **reduce,
                               struct vn_diag *diag) {
  struct vnt_reduce *r = *reduce = calloc(1, sizeof *r);
  if (!r) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  *r = (struct vnt_reduce){.net = net, .frontier = net->n_params};
  if (comm.ranks == 1) return VN_OK;
  const size_t ranks = (size_t)comm.ranks;
  r->n_buckets = (net->elems + BUCKET - 1) / BUCKET;
  r->ready = calloc(net->n_params + 1, sizeof *r->ready);
  r->buckets = calloc(r->n_buckets + 1, sizeof *r->buckets);
  r->peer = malloc(2 * ranks * sizeof *r->peer);
  if (!r->ready || !r->buckets || !r->peer) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < r->n_buckets; i++) {
    struct bucket *b = &r->buckets[i];
    b->end = net->elems - i * BUCKET;
    b->begin = b->end > BUCKET ? b->end - BUCKET : 0;
    b->requests = malloc(2 * ranks * sizeof *b->requests);
    b->others = malloc(((b->end - b->begin) / ranks + 1) * ranks * sizeof *b->others);
    if (!b->requests || !b->others)
      return vn_fail(diag, VN_E_MEMORY, "out of memory for the other ranks' gradients");
  }
  for (int rank = 0, n = 0; rank < comm.ranks; rank++) {
    if (rank == comm.rank) continue;
    r->peer[n++] = rank;
    r->peer[n++] = rank;
  }
  return VN_OK;
}

void vnt_reduce_close(struct vnt_reduce **reduce) {
  struct vnt_reduce *r = *reduce;
  if (!r) return;
  for (size_t i = 0; r->buckets && i < r->n_buckets; i++) {
    free(r->buckets[i].requests);
    free(r->buckets[i].others);
  }
  free(r->buckets);
  free(r->ready);
  free(r->peer);
  free(r);
  *reduce = NULL;
}

#else

void vnt_comm_open(double patience_s) {
  (void)patience_s;
}

void vnt_comm_close(void) {}

size_t vnt_comm_rank(void) {
  return 0;
}

size_t vnt_comm_ranks(void) {
  return 1;
}

size_t vnt_comm_neighbours(void) {
  return 1;
}

size_t vnt_comm_threads(void) {
  return 0;
}

void vnt_comm_sum(void *context, double *values, size_t count) {
  (void)context;
  (void)values;
  (void)count;
}

void vnt_comm_root(void (*work)(void *context), void *context) {
  work(context);
}

enum vn_status vnt_reduce_open(const struct vnt_net *net, struct vnt_reduce **reduce,
                               struct vn_diag *diag) {
  (void)net;
  (void)diag;
  *reduce = NULL;
  return VN_OK;
}

void vnt_reduce_done(void *reduce, size_t param) {
  (void)reduce;
  (void)param;
}

void vnt_reduce_finish(struct vnt_reduce *reduce) {
  (void)reduce;
}

void vnt_reduce_close(struct vnt_reduce **reduce) {
  (void)reduce;
}

#endif
