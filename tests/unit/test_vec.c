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
    assert_true(fabs((double)m - expm1(top)) <= 1e-6 * fabs(expm1(top)));
  }
}

static void test_powers(void **state) {
  (void)state;
  for (int n = -126; n <= 127; n++)
    assert_true(first(vec_pow2(vec_set1((float)n))) == ldexpf(1, n));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_exponentials),
                                     cmocka_unit_test(test_powers)};
  return cmocka_run_group_tests_name("vec", tests, NULL, NULL);
}
