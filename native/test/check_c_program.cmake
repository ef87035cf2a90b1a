# Builds the C program of DOCUMENT in DIR with what BUILD installs, and reads what it prints.
file(REMOVE_RECURSE ${DIR})
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${DIR} --component c OUTPUT_QUIET
                COMMAND_ERROR_IS_FATAL ANY)
file(READ ${DOCUMENT} text)
string(FIND "${text}" "```c\n" begin)
string(SUBSTRING "${text}" ${begin} -1 text)
string(FIND "${text}" "\n```" end)
math(EXPR length "${end} - 4")
string(SUBSTRING "${text}" 5 ${length} text)
file(WRITE ${DIR}/distance.c "${text}")
execute_process(COMMAND ${CC} -std=c99 -Wall -Wextra -Werror -pedantic distance.c -Iinclude -Llib -Wl,-rpath,${DIR}/lib
                        -lhorosphere -o distance
                WORKING_DIRECTORY ${DIR} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${DIR}/distance OUTPUT_VARIABLE printed COMMAND_ERROR_IS_FATAL ANY)
# arcosh(1 + 2 |x - y|^2 / ((1 - |x|^2) (1 - |y|^2))) of the float32 coordinates
if(NOT printed STREQUAL "0.479057 0.865035\n")
  message(FATAL_ERROR "printed ${printed}")
endif()
