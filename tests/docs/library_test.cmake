# Installs the build to a fresh prefix, takes the project of docs/library.md out of the page, builds it against that
# prefix and runs it: cmake -DSOURCE_DIR=… -DBUILD_DIR=… -DWORK_DIR=… [-DCXX_COMPILER= -DCXX_FLAGS= -DGENERATOR=] -P …
cmake_minimum_required(VERSION 3.22)

# The text of the page's n-th fenced block of a language, to a file.
function(take_block language index file)
  file(READ ${SOURCE_DIR}/docs/library.md page)
  set(fence "```${language}\n")
  string(LENGTH "${fence}" fence_length)
  foreach(i RANGE ${index})
    string(FIND "${page}" "${fence}" begin)
    if(begin EQUAL -1)
      message(FATAL_ERROR "docs/library.md has no block ${index} of ${language}")
    endif()
    math(EXPR begin "${begin} + ${fence_length}")
    string(SUBSTRING "${page}" ${begin} -1 page)
  endforeach()
  string(FIND "${page}" "\n```" end)
  string(SUBSTRING "${page}" 0 ${end} block)
  file(WRITE ${file} "${block}\n")
endfunction()

function(run output)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " line)
    message(FATAL_ERROR "failed (${status}): ${line}\n${text}")
  endif()
  set(${output} "${text}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
set(project ${WORK_DIR}/project)
take_block(cmake 0 ${project}/CMakeLists.txt)
take_block(cpp 0 ${project}/gratings.cpp)
take_block(cpp 1 ${project}/summary.cpp)

run(ignored ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${WORK_DIR}/prefix --component library)
run(ignored ${CMAKE_COMMAND} -G ${GENERATOR} -S ${project} -B ${WORK_DIR}/build -DCMAKE_BUILD_TYPE=Release
    -DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix -DCMAKE_CXX_COMPILER=${CXX_COMPILER} -DCMAKE_CXX_FLAGS=${CXX_FLAGS})
run(ignored ${CMAKE_COMMAND} --build ${WORK_DIR}/build)

run(training ${WORK_DIR}/build/gratings)
if(NOT training MATCHES "accuracy (9[5-9]|100)\\.")
  message(FATAL_ERROR "gratings: expected an accuracy of 95% or more, found\n${training}")
endif()
run(summary ${WORK_DIR}/build/summary)
if(NOT summary MATCHES "layer2\\.0\\.downsample\\.0 +\\[128,16,16,128\\]" OR NOT summary MATCHES "11173962 parameters")
  message(FATAL_ERROR "summary: expected ResNet-18's layers and 11173962 parameters, found\n${summary}")
endif()

# A component that does not exist is refused by name.
file(WRITE ${WORK_DIR}/wrong/CMakeLists.txt
     "cmake_minimum_required(VERSION 3.22)\nproject(wrong LANGUAGES CXX)\nfind_package(striate REQUIRED COMPONENTS cuda)\n")
execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -S ${WORK_DIR}/wrong -B ${WORK_DIR}/wrong/build
                        -DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix -DCMAKE_CXX_COMPILER=${CXX_COMPILER}
                RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
if(status EQUAL 0 OR NOT text MATCHES "no component.*cuda")
  message(FATAL_ERROR "find_package(striate COMPONENTS cuda) should fail and name it; it said\n${text}")
endif()
file(REMOVE_RECURSE ${WORK_DIR})
message(STATUS "${training}")
