/* The steps of a run, and the decisions between them; see run.h. */
#include "run.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "cli_os.h"

/* A loss that has left: so far above its best smoothed value, for so many steps in a row. */
enum { SETTLE = 200, LEFT = 500 };
static double far_above(double best) {
  return 1.5 * best + 0.3;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The end of all ranks, which have all come to it. */
static _Noreturn __attribute__((format(printf, 2, 3))) void end_all(enum vn_status status,
                                                                    const char *format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  const bool speaks = vnt_comm_rank() == 0;
  vnt_comm_close();
  if (speaks) cli_fatal(status, "%s", text);
  exit(status);
}

/* ---- one step ---- */

static double rate_at(const struct vnt_options *o, uint64_t step) {
  if (o->optimizer == VNT_SGD) return vnt_rate_steps(o->rate, step, 25000);
  return vnt_rate_cosine(o->rate, step, o->steps < 1000 ? o->steps / 10 + 1 : 100, o->steps);
}

/* Training has gone wrong, as `text` says; where the last good state is, if it was ever saved. */
static _Noreturn __attribute__((format(printf, 2, 3))) void lost(const struct vnt_run *run,
                                                                 const char *format, ...) {
  char text[160];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (!run->saved)
    end_all(VN_E_FORMAT, "%s; no checkpoint was written before: try a smaller --rate", text);
  end_all(VN_E_FORMAT, "%s; the last good state is in %s: try a smaller --rate", text,
          run->options.checkpoint);
}

static _Noreturn void not_finite(const struct vnt_run *run, const char *what) {
  lost(run, "the %s is not finite at step %llu", what, (unsigned long long)run->optim.steps + 1);
}

/* BatchNorm's running statistics are the mean over the first hundred steps, then over about as
 * many. From half way to the freeze on they take the place of the batch's step by step, so that the
 * function that is trained becomes the one that is exported without ever being another one at once;
 * then they are frozen. */
static void norms_set(struct vnt_run *run) {
  const double step = (double)run->optim.steps;
  const double freeze = ceil(run->options.freeze * (double)run->options.steps);
  const bool never = run->options.freeze >= 1;
  const double settled = step >= freeze ? 1 : never ? 0 : fmax(2 * step / freeze - 1, 0);
  vnt_net_norms(&run->net, fmax(1 / (step + 1), 0.01), settled);
}

/* What the ranks tell each other of a step; *stop becomes true on all when it is on one. */
static void loss_share(const struct vnt_run *run, struct vnt_loss *loss, bool *stop) {
  double shared[3 + 2 * VNT_LOSS_CLASSES_MOST] = {loss->loss, loss->dice, *stop};
  const size_t classes = run->options.classes;
  for (size_t c = 0; c < classes; c++) {
    shared[3 + 2 * c] = loss->class[c].dice;
    shared[4 + 2 * c] = loss->class[c].samples;
  }
  vnt_comm_sum(NULL, shared, 3 + 2 * classes);
  loss->loss = shared[0];
  loss->dice = shared[1];
  *stop = shared[2] > 0;
  for (size_t c = 0; c < classes; c++) {
    loss->class[c].dice = shared[3 + 2 * c];
    loss->class[c].samples = shared[4 + 2 * c];
  }
}

/* The means that are exported; at first they follow more closely. */
static void average_step(struct vnt_run *run) {
  const double step = (double)run->optim.steps;
  const double share = fmax(1 - run->options.average, 9 / (10 + step));
  if (!run->average) return;
  vnt_average_step(&run->machine, run->average, run->net.param, run->net.elems, share);
  vnt_average_step(&run->machine, run->average + run->net.elems, run->net.running,
                   run->net.n_running, share);
}

static struct vnt_loss step_run(struct vnt_run *run, double rate, double *norm, bool *stop) {
  struct vnt_loss loss;
  struct vn_diag diag;
  cli_check(vnt_feed_take(run->feed, run->net.input.data, run->target, &diag), &diag);
  run->fed = true;
  if (run->options.dropout > 0)
    vnt_net_dropout(&run->net, run->options.dropout, run->options.seed, run->optim.steps,
                    vnt_comm_rank() * run->share);
  norms_set(run);
  vnt_net_forward(&run->net);
  cli_check(vnt_loss_run(&run->machine, &run->options.loss, &run->net.output, run->target,
                         &run->net.grad_output, &loss, &diag),
            &diag);
  vnt_net_backward(&run->net, vnt_reduce_done, run->reduce);
  vnt_reduce_finish(run->reduce);
  loss_share(run, &loss, stop);
  if (!isfinite(loss.loss)) not_finite(run, "loss");
  *norm = vnt_optim_step(&run->machine, &run->optim, rate, run->net.param, run->net.grad);
  if (!isfinite(*norm)) not_finite(run, "gradient");
  average_step(run);
  vnt_net_changed(&run->net);
  return loss;
}

/* ---- how it goes ---- */

static void progress_add(struct vnt_run *run, const struct vnt_loss *loss) {
  struct vnt_progress *p = &run->progress;
  const double keep = fmin(p->seen / (p->seen + 1), 0.98);
  p->loss = keep * p->loss + (1 - keep) * loss->loss;
  p->dice = keep * p->dice + (1 - keep) * loss->dice;
  p->seen++;
  if (p->seen <= SETTLE || p->loss < p->best_loss) p->best_loss = p->loss;
  p->worse = p->loss > far_above(p->best_loss) ? p->worse + 1 : 0;
  if (p->worse >= LEFT)
    lost(run, "the loss diverges: %.4f, smoothed, at step %llu after %.4f at its best", p->loss,
         (unsigned long long)run->optim.steps, p->best_loss);
}

struct clock {
  double mean; /* seconds a step */
  double seen, shown;
};

static void line_print(const struct vnt_run *run, struct clock *clock, double took) {
  const struct vnt_options *o = &run->options;
  const double keep = fmin(clock->seen / (clock->seen + 1), 0.98), now = seconds();
  const bool terminal = cli_os_terminal(), last = run->optim.steps == o->steps;
  clock->mean = keep * clock->mean + (1 - keep) * took;
  clock->seen++;
  if (o->quiet || vnt_comm_rank() != 0) return;
  if (!last && now - clock->shown < (terminal ? 0.2 : 60)) return;
  clock->shown = now;
  const double left = clock->mean * (double)(o->steps - run->optim.steps);
  fprintf(stderr, "%sstep %llu of %llu  loss %.4f  Dice %.4f  %.2f s a step  %d:%02d:%02d left%s",
          terminal ? "\r" : "", (unsigned long long)run->optim.steps, (unsigned long long)o->steps,
          run->progress.loss, run->progress.dice, clock->mean, (int)(left / 3600),
          (int)fmod(left / 60, 60), (int)fmod(left, 60),
          terminal ? last ? "\033[K\n" : "\033[K" : "\n");
  fflush(stderr);
}

/* ---- all of them ---- */

struct errand {
  struct vnt_run *run;
  bool save, cut;
};

/* A validation that was cancelled is made up for on resuming, at this very step. */
static void errand_do(void *context) {
  struct errand *e = context;
  e->cut = !vnt_run_validate(e->run);
  if (e->save || e->cut) vnt_run_save(e->run);
}

/* By rank 0; true on all: the run ends here, for its validation was cancelled. */
static bool errand_run(struct errand *e) {
  vnt_comm_root(errand_do, e);
  double cut = e->cut;
  vnt_comm_sum(NULL, &cut, 1);
  return e->cut = cut > 0;
}

static bool validation_due(const struct vnt_run *run) {
  const uint64_t every = run->options.validate_every, step = run->optim.steps;
  return every && step && (step % every == 0 || step == run->options.steps);
}

bool vnt_run_steps(struct vnt_run *run) {
  const struct vnt_options *o = &run->options;
  struct clock clock = {.shown = seconds()};
  struct errand errand = {.run = run};
  /* What a resumed run has at its beginning the other had at that step's end. */
  errand.save = run->optim.steps == o->steps;
  bool stopped = (validation_due(run) || errand.save) && errand_run(&errand);
  while (run->optim.steps < o->steps && !stopped) {
    double norm, start = seconds(), rate = rate_at(o, run->optim.steps);
    stopped = vn_cancel_pressed(run->cancel);
    struct vnt_loss loss = step_run(run, rate, &norm, &stopped);
    const double took = seconds() - start;
    if (vnt_comm_rank() == 0) vnt_run_log(run, &loss, rate, norm, took);
    progress_add(run, &loss);
    line_print(run, &clock, took);
    const uint64_t step = run->optim.steps;
    const bool good = run->progress.worse == 0; /* else an older checkpoint is worth more */
    errand.save = (step % o->every == 0 && good) || step == o->steps || stopped;
    if ((errand.save || validation_due(run)) && errand_run(&errand)) stopped = true;
  }
  return run->optim.steps == o->steps && !errand.cut;
}
