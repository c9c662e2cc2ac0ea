# Writes the source file that says which commit was built: cmake -DSOURCE_DIR=… -DOUTPUT=… -P commit.cmake, at every
# build, because commits come and go without a new configuration. The file is left alone where it says so already.
cmake_minimum_required(VERSION 3.22)

find_package(Git QUIET)
set(commit "unknown (built outside of a git checkout)")
if(GIT_EXECUTABLE)
  execute_process(COMMAND ${GIT_EXECUTABLE} rev-parse --short=12 HEAD WORKING_DIRECTORY ${SOURCE_DIR}
                  RESULT_VARIABLE failed OUTPUT_VARIABLE head ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT failed)
    set(commit ${head})
    execute_process(COMMAND ${GIT_EXECUTABLE} diff --quiet HEAD WORKING_DIRECTORY ${SOURCE_DIR} RESULT_VARIABLE changed
                    OUTPUT_QUIET ERROR_QUIET)
    if(changed)
      string(APPEND commit " with changes")
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#include \"tools/build_facts.h\"

namespace striate {
const char* build_commit() { return \"@commit@\"; }
}  // namespace striate
" @ONLY)
