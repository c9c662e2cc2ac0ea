# cmake -DOUTPUT=F.cpp -DFOLDER=here -DSCRIPTS=a.js,b.js -P embed.cmake: the report's files as C++ strings.

# A string literal of a file's text; in pieces, for compilers bound the length of one.
function(literal text out)
  set(pieces "")
  string(LENGTH "${text}" length)
  set(at 0)
  while(at LESS length)
    string(SUBSTRING "${text}" ${at} 8000 piece)
    string(APPEND pieces "\n    R\"striate(${piece})striate\"")
    math(EXPR at "${at} + 8000")
  endwhile()
  set(${out} "${pieces}" PARENT_SCOPE)
endfunction()

file(READ ${FOLDER}/page.html page)
file(READ ${FOLDER}/page.css style)
set(script "'use strict';\n")
string(REPLACE "," ";" scripts "${SCRIPTS}")
foreach(name IN LISTS scripts)
  file(READ ${FOLDER}/${name} text)
  string(APPEND script "${text}\n")
endforeach()

literal("${page}" page)
literal("${style}" style)
literal("${script}" script)
file(WRITE ${OUTPUT} "// Made from tools/experiments/report/ by embed.cmake.
#include \"tools/experiments/report/assets.h\"

namespace striate::report_assets {
const char* const kPage =${page};
const char* const kStyle =${style};
const char* const kScript =${script};
}  // namespace striate::report_assets
")
