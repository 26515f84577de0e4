module taskscope.test/shop-web

go 1.24
