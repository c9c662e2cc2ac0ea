#pragma once

/// The files beside this one, compiled in (embed.cmake), so that the tools need none beside them.
namespace striate::report_assets {

extern const char* const kPage;    ///< page.html, with marks where the rest goes
extern const char* const kStyle;   ///< page.css
extern const char* const kScript;  ///< the .js files, one after another

}  // namespace striate::report_assets
