module taskscope.test/http-separate

go 1.26.0

require (
	golang.org/x/net v0.62.0
	taskscope.test/serve v0.0.0
)

require golang.org/x/text v0.43.0 // indirect

replace taskscope.test/serve => ../serve
