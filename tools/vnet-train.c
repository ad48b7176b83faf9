/* vnet-train: scans with label maps, or label maps alone, in; a trained V-Net as ONNX out. What a
 * run is made of is in train/run. */
#include <stdio.h>

#include "cli.h"
#include "command_line.h"
#include "plan.h"
#include "render.h"
#include "run.h"

static void press(void *cancel) {
  vn_cancel_press(cancel);
}

int main(int argc, char **argv) {
  static struct vnt_run run;
  cli_start("vnet-train");
  const struct vnt_options options = vnt_command_line(argc, argv);
  if (options.plan) {
    vnt_plan_print(&options);
    return VN_OK;
  }
  if (options.render) {
    vnt_render(&options);
    return VN_OK;
  }
  vnt_comm_open(options.timeout_s);
  vnt_run_open(&run, &options);
  cli_on_interrupt(press, run.cancel);
  const bool finished = vnt_run_steps(&run);
  cli_on_interrupt(NULL, NULL);
  if (!finished && vnt_comm_rank() == 0)
    fprintf(stderr, "\nvnet-train: stopped after step %llu and saved; go on with --resume\n",
            (unsigned long long)run.optim.steps);
  vnt_run_close(&run);
  vnt_comm_close();
  return finished ? VN_OK : VN_E_CANCELLED;
}
