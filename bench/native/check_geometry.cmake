include(${CMAKE_CURRENT_LIST_DIR}/check.cmake)
# with gradient, 2 dims, 2 types; in the cache, 2 dims
check_run("poincare.egrad2rgrad +vjp +bf16 +33" 10 "mib;rounds" "" "gbps;floor_gbps;ratio"
          --op poincare.egrad2rgrad --dim 2 --dim 33 --dtype f32 --dtype bf16 --mib 1 --rounds 1)
check_refusals(geometry "--dim 0" "--dtype f8" "--op nothing" "--rounds")
