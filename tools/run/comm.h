/* Handing out cases to the processes of a run: alone, or as ranks under mpirun. All that knows of
 * MPI is in comm.c; a build without MPI has only the first kind. */
#ifndef VNET_RUN_COMM_H
#define VNET_RUN_COMM_H

#include <stdbool.h>
#include <stddef.h>

/* First and last call; comm_open uses MPI only where mpirun (or srun) started the process. */
void comm_open(int *argc, char ***argv);
void comm_close(void);
bool comm_in_use(void); /* MPI */
size_t comm_rank(void);
size_t comm_ranks(void);

/* The next case that nobody has yet, in increasing order; SIZE_MAX when all `count` are handed
 * out. Ranks ask rank 0, which answers in comm_serve and while it waits in comm_finish. */
size_t comm_next(size_t count);

/* Rank 0: answers who has asked; to be called now and then during long work. */
void comm_serve(void);

/* Returns when every rank has called it; adds up `value` over the ranks. */
size_t comm_finish(size_t value);

#endif
