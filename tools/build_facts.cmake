# The library striate_build_facts: which commit, version and compiler a program is made of. Needs no other library, for
# the builds without tools.
set(commit_source ${PROJECT_BINARY_DIR}/commit.cpp)
# Found out at every build.
add_custom_target(striate_commit BYPRODUCTS ${commit_source}
                  COMMAND ${CMAKE_COMMAND} -DSOURCE_DIR=${PROJECT_SOURCE_DIR} -DOUTPUT=${commit_source}
                          -P ${CMAKE_CURRENT_LIST_DIR}/commit.cmake)
add_library(striate_build_facts STATIC ${CMAKE_CURRENT_LIST_DIR}/build_facts.cpp ${commit_source})
add_dependencies(striate_build_facts striate_commit)
target_include_directories(striate_build_facts PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_definitions(striate_build_facts PRIVATE STRIATE_VERSION="${PROJECT_VERSION}"
                           STRIATE_BUILD_TYPE="${CMAKE_BUILD_TYPE}")
target_link_libraries(striate_build_facts PRIVATE striate_options)
