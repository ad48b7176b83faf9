/* Numbers out of a CSV file: the log that charts are drawn of. */
#include "fuzz.h"

#include "charts_csv.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const names[] = {"step", "loss", "dice"};
  struct vnt_table table;
  struct vn_diag diag = {""};
  enum vn_status status = vnt_table_read(fuzz_file(data, size), names, 3, &table, &diag);
  fuzz_judge(status, &diag);
  for (size_t i = 0; !status && i < table.rows * table.columns; i++)
    if (isinf(table.value[i])) fuzz_broken("an infinite number in a table");
  vnt_table_close(&table);
  return 0;
}
