/* The portable vectors' exponentials on what is no ordinary number. Compiled so that a conversion
 * which C leaves undefined, of a NaN to an integer for one, ends the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kernels/vec/vec.h"

#include <math.h>

static const float odd[] = {NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 0.f, 1.f, -80.5f};
enum { ODD = sizeof odd / sizeof *odd };

static float first(vec x) {
  float lanes[VEC_LANES];
  vec_store(lanes, x);
  for (size_t i = 1; i < VEC_LANES; i++) assert_memory_equal(&lanes[i], &lanes[0], sizeof *lanes);
  return lanes[0];
}

static void test_exponentials(void **state) {
  (void)state;
  for (size_t i = 0; i < ODD; i++) {
    const float x = odd[i], e = first(vec_exp(vec_set1(x))), m = first(vec_expm1(vec_set1(x)));
    const double top = x > 88 ? 88 : (double)x; /* as far as they go */
    if (isnan(x)) {
      assert_true(isnan(e) && isnan(m));
      continue;
    }
    assert_true(fabs((double)e - exp(top)) <= 1e-6 * exp(top) + 1e-37);
    if (x <= 1) assert_true(fabs((double)m - expm1(top)) <= 1e-6 * fabs(expm1(top)));
  }
}

/* Every 2^k that exponentials have, and their errors in units of the last place. */
static void test_ulps(void **state) {
  (void)state;
  for (float x = -87; x <= 88; x += 0.01171875f) {
    const double e = exp((double)x), m = expm1((double)x);
    assert_true(fabs((double)first(vec_exp(vec_set1(x))) - e) <= 1.5e-7 * e);
    if (x <= 1) assert_true(fabs((double)first(vec_expm1(vec_set1(x))) - m) <= 1.5e-7 * fabs(m));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_exponentials),
                                     cmocka_unit_test(test_ulps)};
  return cmocka_run_group_tests_name("vec", tests, NULL, NULL);
}
