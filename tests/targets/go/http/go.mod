module taskscope.test/http

go 1.24

require taskscope.test/serve v0.0.0

replace taskscope.test/serve => ../serve
